"""Rotary embedding and padding moved into GroupQueryAttention, which does both on the way."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from modelwright_plugins.compile.subgraph import HIDDEN, run_subgraph
from modelwright_plugins.format.onnx_graph import add_initializer, remove_unused

if TYPE_CHECKING:
    import onnx_ir as ir

# Places of GroupQueryAttention's inputs.
VALUE, PAST_KEY, SEQLENS, TOTAL, POSITIONS, BIAS = 2, 3, 5, 6, 9, 10
MASK = np.array([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
# Of cosines and sines in vectors of another length; models that scale them by their text are far above.
TOLERANCE = 1e-4
log = logging.getLogger(__name__)


class _Rotated(NamedTuple):
    """An attention node, and the two operators before it that rotate its queries and keys."""

    node: ir.Node
    query: ir.Node
    key: ir.Node


def absorb_into_attention(model: ir.Model, max_length: int) -> int:
    """Let GroupQueryAttention rotate and mask, and take query, key and value as the one product they are.

    It counts positions by the mask's sum then, so rows of unequal length have to be padded on the right, as
    for the graphs of ONNX Runtime GenAI's model builder. The angles of `max_length` positions are stored.

    Returns how many layers were changed: all, or none, and logs why.
    """
    nodes = [node for node in model.graph if node.op_type == "GroupQueryAttention"]
    layers = [found for node in nodes if (found := _rotated(node)) is not None]
    if not layers or len(layers) < len(nodes):
        log.info("%d of %d attentions follow rotations of whole heads", len(layers), len(nodes))
        return 0
    if len({_kind(layer) for layer in layers}) > 1 or not _hides_padding(model, layers[0].node, max_length):
        log.info("attention is masked by more than padding, or not alike in all layers")
        return 0
    tables = _angles(model, layers[0], max_length)
    if tables is None:
        log.info("the angles of rotations depend on more than each token's position")
        return 0
    prefix = layers[0].node.outputs[0].name  # no other value has it
    cosines, sines = (
        add_initializer(model.graph, f"{prefix}_{name}", table)
        for name, table in zip(("cosines", "sines"), tables, strict=True)
    )
    lengths = _lengths(model, f"{prefix}_lengths")
    for layer in layers:
        _absorb(layer, lengths, cosines, sines)
    remove_unused(model)
    _drop_positions(model)
    return len(layers)


def _rotated(node: ir.Node) -> _Rotated | None:
    """The layer whose attention this is, where queries and keys are rotated over all of a head's width."""
    query, key, value = (*node.inputs[: VALUE + 1], None, None, None)[: VALUE + 1]
    # Positions; sinks, and scales of a cache in fewer bits.
    others = [
        given for given in (*node.inputs[POSITIONS:BIAS], *node.inputs[BIAS + 1 :]) if given is not None
    ]
    if query is None or key is None or value is None or others or node.attributes.get_int("do_rotary", 0):
        return None
    turns = query.producer(), key.producer()
    heads = (node.attributes.get_int(name, -1) for name in ("num_heads", "kv_num_heads"))
    if turns[0] is None or turns[1] is None:
        return None
    for turn, count in zip(turns, heads, strict=True):
        if (
            turn.op_type != "RotaryEmbedding"
            or len(turn.inputs) > 3
            or turn.attributes.get_int("rotary_embedding_dim", 0)
            or turn.attributes.get_int("num_heads", 0) != count
        ):
            return None
    return _Rotated(node, turns[0], turns[1])


def _kind(layer: _Rotated) -> object:
    """Equal for layers with the same angles and mask."""
    node, query, key = layer
    angles = {(*map(id, turn.inputs[1:]), turn.attributes.get_int("interleaved", 0)) for turn in (query, key)}
    masks = map(id, (node.inputs[SEQLENS], node.inputs[TOTAL], _bias(node)))
    return (*masks, frozenset(angles)) if len(angles) == 1 else id(node)


def _bias(node: ir.Node) -> ir.Value | None:
    return node.inputs[BIAS] if len(node.inputs) > BIAS else None


def _hides_padding(model: ir.Model, node: ir.Node, max_length: int) -> bool:
    """Whether the bias does nothing but hide what the mask hides, in padded rows and after a full context.

    At the latter's end a window shows, however wide. What lies behind a token is not looked at:
    GroupQueryAttention never does.
    """
    bias = _bias(node)
    if bias is None:
        return True
    full = np.ones((1, max_length), np.int64)
    for mask, length in ((MASK, MASK.shape[1]), (MASK, 1), (full, 1)):
        rows, total = mask.shape
        feed = {"input_ids": np.zeros((rows, length), np.int64), "attention_mask": mask}
        found = run_subgraph(model, [bias], feed)
        if found is None:
            return False
        shape = (rows, found[0].shape[1], length, total)
        added = np.broadcast_to(found[0].astype(np.float32), shape)
        shown = np.broadcast_to(mask[:, None, None, :] == 1, shape)
        reached = np.broadcast_to(np.tri(length, total, total - length, dtype=bool), shape)
        if (added[shown & reached] != 0).any() or (added[~shown & reached] > HIDDEN).any():
            return False
    return True


def _angles(model: ir.Model, layer: _Rotated, max_length: int) -> list[np.ndarray] | None:
    """Cosines and sines [max_length, half a head's width]; None where they are not of each position alone.

    Texts of half the length, of half of that and so on have to get the same: some models scale by their end.
    """
    wanted = [value for value in layer.query.inputs[1:3] if value is not None]
    past = layer.node.inputs[PAST_KEY]
    width = past.shape[3] if past is not None and past.shape is not None else None
    if not isinstance(width, int):
        return None
    tables: list[np.ndarray] = []
    length = max_length
    while length:
        found = run_subgraph(model, wanted, {"position_ids": np.arange(length)[None]})
        if found is None or any(table.shape != (1, length, width // 2) for table in found):
            return None
        tables = tables or [table[0] for table in found]
        for table, whole in zip(found, tables, strict=True):
            if not np.allclose(table[0], whole[:length], rtol=0, atol=TOLERANCE):
                return None
        length //= 2
    return tables


def _lengths(model: ir.Model, name: str) -> ir.Value:
    """Each row's tokens less one, int32 [batch]."""
    import onnx_ir as ir

    mask = next(value for value in model.graph.inputs if value.name == "attention_mask")
    tape = ir.tape.Tape()
    axis = add_initializer(model.graph, f"{name}_axis", np.array([1]))
    one = add_initializer(model.graph, f"{name}_one", np.array([1]))
    total = tape.op("ReduceSum", [mask, axis], attributes={"keepdims": 0})
    last = tape.op("Cast", [tape.op("Sub", [total, one])], attributes={"to": int(ir.DataType.INT32)})
    model.graph.insert_before(next(iter(model.graph)), tape.nodes)
    return last


def _absorb(layer: _Rotated, lengths: ir.Value, cosines: ir.Value, sines: ir.Value) -> None:
    import onnx_ir as ir

    node = layer.node
    parts = [layer.query.inputs[0], layer.key.inputs[0], node.inputs[VALUE]]
    whole = _whole(parts)
    inputs = list(node.inputs[: TOTAL + 1])
    inputs[: VALUE + 1] = parts if whole is None else [whole, None, None]
    inputs[SEQLENS] = lengths
    inputs += [cosines, sines]
    node.resize_inputs(len(inputs))
    for place, value in enumerate(inputs):
        node.replace_input_with(place, value)
    node.attributes["do_rotary"] = ir.AttrInt64("do_rotary", 1)
    interleaved = layer.query.attributes.get_int("interleaved", 0)
    node.attributes["rotary_interleaved"] = ir.AttrInt64("rotary_interleaved", interleaved)


def _whole(parts: Sequence[ir.Value | None]) -> ir.Value | None:
    """The value whose split, in this order, gives the parts and nothing else."""
    splits = {None if part is None else part.producer() for part in parts}
    split = splits.pop()
    if splits or split is None or split.op_type != "Split" or list(split.outputs) != list(parts):
        return None
    return split.inputs[0] if split.attributes.get_int("axis", 0) in (-1, 2) else None


def _drop_positions(model: ir.Model) -> None:
    """Remove the graph's input where only angles were made of it."""
    for value in [value for value in model.graph.inputs if value.name == "position_ids" and not value.uses()]:
        model.graph.inputs.remove(value)
