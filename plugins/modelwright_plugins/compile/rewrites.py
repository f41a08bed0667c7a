"""Exact rewrites of an ONNX encoder graph, quantized or not, that ONNX Runtime runs faster.

Each takes an `onnx_ir.Model`, changes it in place where a pattern is found, and returns how often it did.
A pattern that is not found, or whose equality cannot be shown, is left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modelwright_plugins.compile.subgraph import HIDDEN, run_subgraph
from modelwright_plugins.format.onnx_graph import add_initializer, remove_unused

if TYPE_CHECKING:
    import onnx_ir as ir

SWAP_HEADS = [0, 2, 1, 3]


def drop_unattended_rows(model: ir.Model) -> int:
    """Take away `Where(nothing attended, 0, attention)`, which the exporter puts behind every attention.

    Equal wherever each text has at least one token, as every tokenizer with a start token gives.
    """
    done = 0
    for node in attentions(model):
        users = _users(node.outputs[0])
        if len(users) == 1 and users[0].op_type == "Where" and users[0].inputs[2] is node.outputs[0]:
            _replace(users[0].outputs[0], node.outputs[0])
            done += 1
    remove_unused(model)
    return done


def share_key_mask(model: ir.Model) -> int:
    """Make one additive mask from `attention_mask` for all layers, instead of index arithmetic in each.

    Done only where all layers read one mask and running its subgraph shows that it hides just the padded
    keys.
    """
    import onnx_ir as ir

    nodes = [node for node in attentions(model) if len(node.inputs) > 3 and node.inputs[3] is not None]
    masks = {node.inputs[3] for node in nodes}
    given = [value for value in model.graph.inputs if value.name == "attention_mask"]
    if len(masks) != 1 or not given or not is_key_mask(model, next(iter(masks))):
        return 0
    graph, tape = model.graph, ir.tape.Tape()
    shown = tape.op("Cast", [given[0]], attributes={"to": int(ir.DataType.FLOAT)})
    hidden = tape.op("Sub", [add_initializer(graph, "key_mask.one", np.array(1, np.float32)), shown])
    lowest = add_initializer(graph, "key_mask.lowest", np.array(np.finfo(np.float32).min, np.float32))
    rows = tape.op("Unsqueeze", [
        tape.op("Mul", [hidden, lowest]), add_initializer(graph, "key_mask.axes", np.array([1, 2]))
    ])  # fmt: skip
    # ONNX Runtime's CPU kernel refuses a mask whose query axis is 1.
    length = tape.op("Shape", [given[0]], attributes={"start": 1, "end": 2})
    one = add_initializer(graph, "key_mask.single", np.array([1]))
    shape = tape.op("Concat", [one, one, length, one], attributes={"axis": 0})
    mask = tape.op("Expand", [rows, shape])
    mask.dtype = ir.DataType.FLOAT
    graph.insert_before(next(iter(graph)), tape.nodes)
    for node in nodes:
        node.replace_input_with(3, mask)
    remove_unused(model)
    return len(nodes)


def flatten_heads(model: ir.Model) -> int:
    """Use the 3-D form of `Attention`, [batch, length, hidden]: its reshapes and transposes go away."""
    done = 0
    for node in attentions(model):
        split = [_split_heads(node.inputs[index]) for index in range(3)]
        merged = _merged_heads(node.outputs[0])
        if merged is None or not all(split) or len({heads for _, heads in filter(None, split)}) != 1:
            continue
        for index, found in enumerate(filter(None, split)):
            source, heads = found
            node.replace_input_with(index, source)
            for key in ("q_num_heads", "kv_num_heads"):
                node.attributes[key] = _int_attribute(key, heads)
        node.outputs[0].shape = merged.shape
        _replace(merged, node.outputs[0])
        done += 1
    remove_unused(model)
    return done


def keep_norms_plain(model: ir.Model) -> int:
    """Write a residual `Add` before LayerNormalization as `Sum`, which ONNX Runtime does not fuse.

    Its CPU kernel for the fused SkipLayerNormalization takes about four times as long as the two operators.
    """
    import onnx_ir as ir

    done = 0
    for norm in [node for node in model.graph if node.op_type == "LayerNormalization"]:
        add = _producer(norm.inputs[0], "Add")
        if add is None:
            continue
        total = ir.node("Sum", list(add.inputs), name=f"{add.name}_residual")
        total.outputs[0].shape, total.outputs[0].dtype = add.outputs[0].shape, add.outputs[0].dtype
        model.graph.insert_before(add, [total])
        _replace(add.outputs[0], total.outputs[0])
        done += 1
    remove_unused(model)
    return done


def fuse_for_provider(model: ir.Model, provider: str) -> int:
    """Fuse into ONNX Runtime's own operators (`com.microsoft`), as transformers does for its exports."""
    from transformers.exporters.onnxruntime_fusions import fuse_for_onnxruntime

    before = sum(node.domain == "com.microsoft" for node in model.graph)
    fuse_for_onnxruntime(model, "cuda" if provider == "CUDAExecutionProvider" else "cpu")
    remove_unused(model)
    return sum(node.domain == "com.microsoft" for node in model.graph) - before


def attentions(model: ir.Model) -> list[ir.Node]:
    """The `Attention` operators of ONNX in a graph."""
    return [node for node in model.graph if node.op_type == "Attention" and node.domain == ""]


def _producer(value: ir.Value | None, op_type: str) -> ir.Node | None:
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == op_type else None


def _users(value: ir.Value) -> list[ir.Node]:
    return [user for user, _ in value.uses()]


def _replace(old: ir.Value, new: ir.Value) -> None:
    old.replace_all_uses_with(new, replace_graph_outputs=True)


def _int_attribute(name: str, value: int) -> ir.Attr:
    import onnx_ir as ir

    return ir.AttrInt64(name, value)


def _is_permutation(node: ir.Node) -> bool:
    return node.op_type == "Transpose" and list(node.attributes.get_ints("perm", [])) == SWAP_HEADS


def _split_heads(value: ir.Value | None) -> tuple[ir.Value, int] | None:
    """The [batch, length, hidden] tensor that `value` splits into heads, and how many heads."""
    transpose = _producer(value, "Transpose")
    if transpose is None or not _is_permutation(transpose):
        return None
    reshape = _producer(transpose.inputs[0], "Reshape")
    if reshape is None or reshape.inputs[0] is None or reshape.inputs[0].shape is None:
        return None
    hidden, size = reshape.inputs[0].shape[-1], _last_element(reshape.inputs[1])
    if not isinstance(hidden, int) or not size or size < 1 or hidden % size:
        return None
    return reshape.inputs[0], hidden // size


def _merged_heads(value: ir.Value) -> ir.Value | None:
    """The [batch, length, hidden] tensor that an attention's output is merged into."""
    users = _users(value)
    if len(users) != 1 or not _is_permutation(users[0]):
        return None
    back = _users(users[0].outputs[0])
    return back[0].outputs[0] if len(back) == 1 and back[0].op_type == "Reshape" else None


def _last_element(shape: ir.Value | None) -> int | None:
    """The last number of a Reshape's target, constant or concatenated."""
    import onnx_ir as ir

    concat = _producer(shape, "Concat")
    value = concat.inputs[-1] if concat is not None else shape
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return None if tensor is None else int(tensor.numpy().reshape(-1)[-1])


def is_key_mask(model: ir.Model, mask: ir.Value) -> bool:
    """Run a mask's own subgraph on random padding: whether it hides exactly the padded keys."""
    attended = np.random.default_rng(0).integers(0, 2, (3, 11))
    attended[:, 0] = 1
    names = [str(value.name) for value in model.graph.inputs]
    ran = run_subgraph(
        model,
        [mask],
        {name: attended if name == "attention_mask" else np.zeros_like(attended) for name in names},
    )
    if ran is None:
        return False
    found = ran[0]
    expected = np.broadcast_to(attended[:, None, None, :] == 1, found.shape)
    if found.dtype == bool:
        return bool((found == expected).all())
    return bool(((found == 0) == expected).all() and (found[~expected] <= HIDDEN).all())
