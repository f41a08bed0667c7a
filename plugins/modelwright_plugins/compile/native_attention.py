"""Rotary embedding and padding moved into GroupQueryAttention, which does both on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from modelwright_plugins.compile.subgraph import run_subgraph
from modelwright_plugins.format.onnx_graph import add_initializer

if TYPE_CHECKING:
    import onnx_ir as ir

# Places of GroupQueryAttention's inputs.
VALUE, PAST_KEY, SEQLENS, TOTAL, BIAS = 2, 3, 5, 6, 10
# What a bias has to add at least for the softmax to leave nothing of a score.
HIDDEN = -1e9
MASK = np.array([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])


class _Rotated(NamedTuple):
    """An attention node, and the two operators before it that rotate its queries and keys."""

    node: ir.Node
    query: ir.Node
    key: ir.Node


def absorb_into_attention(model: ir.Model, max_length: int) -> int:
    """Let GroupQueryAttention rotate and mask, and take query, key and value as the one product they are.

    It counts positions by the mask's sum then, so rows of unequal length have to be padded on the right, as
    for the graphs of ONNX Runtime GenAI's model builder. The angles of `max_length` positions are stored.

    Returns how many layers were changed: all, or none where the angles depend on more than positions, or the
    bias hides more than padding.
    """
    nodes = [node for node in model.graph if node.op_type == "GroupQueryAttention"]
    layers = [found for node in nodes if (found := _rotated(node)) is not None]
    kinds = {_kind(layer) for layer in layers}
    if len(layers) < len(nodes) or len(kinds) != 1:
        return 0
    inputs = nodes[0].inputs
    if not _hides_padding(model, inputs[BIAS] if len(inputs) > BIAS else None, max_length):
        return 0
    tables = _angles(model, layers[0], max_length)
    if tables is None:
        return 0
    names = ("cos_cache", "sin_cache")
    caches = [add_initializer(model.graph, name, table) for name, table in zip(names, tables, strict=True)]
    lengths = _lengths(model)
    for layer in layers:
        _absorb(layer, lengths, caches)
    _clean(model)
    return len(layers)


def _rotated(node: ir.Node) -> _Rotated | None:
    """The layer whose attention this is, where queries and keys are rotated over all of a head's width."""
    inputs = [*node.inputs, *[None] * (BIAS + 1 - len(node.inputs))]
    if node.attributes.get_int("do_rotary", 0) or inputs[BIAS - 1] is not None or None in inputs[:3]:
        return None
    query, key = (None if value is None else value.producer() for value in inputs[:2])
    if query is None or key is None:
        return None
    for turn, heads in ((query, "num_heads"), (key, "kv_num_heads")):
        if (
            turn.op_type != "RotaryEmbedding"
            or len(turn.inputs) > 3
            or turn.attributes.get_int("rotary_embedding_dim", 0)
            or turn.attributes.get_int("num_heads", 0) != node.attributes.get_int(heads, -1)
        ):
            return None
    return _Rotated(node, query, key)


def _kind(layer: _Rotated) -> object:
    """Equal for layers with the same angles and mask."""
    node, query, key = layer
    bias = node.inputs[BIAS] if len(node.inputs) > BIAS else None
    angles = {(*map(id, turn.inputs[1:]), turn.attributes.get_int("interleaved", 0)) for turn in (query, key)}
    return (*map(id, (node.inputs[SEQLENS], node.inputs[TOTAL], bias)), frozenset(angles))


def _hides_padding(model: ir.Model, bias: ir.Value | None, max_length: int) -> bool:
    """Whether a bias does nothing but hide what the mask hides, in padded rows and after a full context.

    At the latter's end a window shows, however wide. What lies behind a token is not looked at:
    GroupQueryAttention never does.
    """
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
    tables: list[np.ndarray] = []
    length = max_length
    while length:
        found = run_subgraph(model, wanted, {"position_ids": np.arange(length)[None]})
        if found is None or any(table.shape[:2] != (1, length) for table in found):
            return None
        tables = tables or [table[0] for table in found]
        if any(
            not np.array_equal(table[0], whole[:length]) for table, whole in zip(found, tables, strict=True)
        ):
            return None
        length //= 2
    return tables if isinstance(width, int) and all(2 * table.shape[1] == width for table in tables) else None


def _lengths(model: ir.Model) -> ir.Value:
    """Each row's tokens less one, int32 [batch]."""
    import onnx_ir as ir

    mask = next(value for value in model.graph.inputs if value.name == "attention_mask")
    tape = ir.tape.Tape()
    axis = add_initializer(model.graph, "row_lengths.axis", np.array([1]))
    one = add_initializer(model.graph, "row_lengths.one", np.array([1]))
    total = tape.op("ReduceSum", [mask, axis], attributes={"keepdims": 0})
    last = tape.op("Cast", [tape.op("Sub", [total, one])], attributes={"to": int(ir.DataType.INT32)})
    model.graph.insert_before(next(iter(model.graph)), tape.nodes)
    return last


def _absorb(layer: _Rotated, lengths: ir.Value, caches: Sequence[ir.Value]) -> None:
    import onnx_ir as ir

    node = layer.node
    parts = [layer.query.inputs[0], layer.key.inputs[0], node.inputs[VALUE]]
    whole = _whole(parts)
    inputs = list(node.inputs[: BIAS - 1])
    inputs[: VALUE + 1] = parts if whole is None else [whole, None, None]
    inputs[SEQLENS] = lengths
    inputs[TOTAL + 1 :] = caches
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
    return split.inputs[0]


def _clean(model: ir.Model) -> None:
    """Remove what nothing reads any more, the positions too where only angles were made of them."""
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    RemoveUnusedNodesPass()(model)
    for value in [value for value in model.graph.inputs if value.name == "position_ids" and not value.uses()]:
        model.graph.inputs.remove(value)
