"""Clean-up of a traced graph: reshapes and transposes that undo each other, and residual norms."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir


def cancel_layout(model: onnx_ir.Model) -> None:
    """Remove reshapes and transposes that together change nothing: heads that are split and merged again."""
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    for node in list(model.graph):
        if node.op_type == "Transpose":
            before = _producer(node.inputs[0], "Transpose")
            if before is not None and _undo(node, before):
                _replace(node.outputs[0], before.inputs[0])
        elif node.op_type == "Reshape":
            source = node.inputs[0]
            while (before := _producer(source, "Reshape")) is not None:
                source = before.inputs[0]
            if _same_shape(source, node.outputs[0]):
                _replace(node.outputs[0], source)
    RemoveUnusedNodesPass()(model)


def join_residual_norms(model: onnx_ir.Model) -> int:
    """Make each residual sum and the RMS norm after it one SkipSimplifiedLayerNormalization; their number."""
    import onnx_ir

    joined = 0
    for node in list(model.graph):
        if node.op_type != "RMSNormalization" or node.domain != "":
            continue
        total = node.inputs[0]
        add = _producer(total, "Add")
        if total is None or add is None or total.is_graph_output():
            continue
        left, right = add.inputs
        scale = node.inputs[1]
        if scale is None or not scale.is_initializer() or len(total.shape or ()) != 3:
            continue
        if not (_same_shape(left, right) and _same_shape(left, total)):
            continue
        skip = onnx_ir.node(
            "SkipSimplifiedLayerNormalization",
            [left, right, node.inputs[1]],
            attributes={"epsilon": node.attributes.get_float("epsilon", 1e-5)},
            domain="com.microsoft",
            num_outputs=4,
            name=node.name,
        )
        normalized, mean, deviation, summed = skip.outputs
        mean.name, deviation.name = "", ""
        for new, old in ((normalized, node.outputs[0]), (summed, total)):
            new.shape, new.type = old.shape, old.type
        # Nothing between the sum and its norm reads the sum, or it would have to come after the norm now.
        model.graph.insert_after(add, skip)
        for new, old in ((normalized, node.outputs[0]), (summed, total)):
            name = old.name
            _replace(old, new)
            old.name, new.name = None, name
        model.graph.remove([node, add], safe=True)
        joined += 1
    if joined:
        model.graph.opset_imports["com.microsoft"] = 1
    return joined


def _producer(value: onnx_ir.Value | None, op_type: str) -> onnx_ir.Node | None:
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == op_type and node.domain == "" else None


def _undo(node: onnx_ir.Node, before: onnx_ir.Node) -> bool:
    outer, inner = (list(item.attributes.get_ints("perm", ())) for item in (node, before))
    return len(outer) == len(inner) and [inner[axis] for axis in outer] == list(range(len(inner)))


def _same_shape(left: onnx_ir.Value | None, right: onnx_ir.Value | None) -> bool:
    """Whether two shapes are equal beyond doubt: the same numbers and the same named dimensions."""
    if left is None or right is None or left.shape is None or right.shape is None:
        return False
    if len(left.shape) != len(right.shape):
        return False
    pairs = zip(left.shape, right.shape, strict=True)
    return all(
        a == b if isinstance(a, int) or isinstance(b, int) else a.value is not None and a.value == b.value
        for a, b in pairs
    )


def _replace(old: onnx_ir.Value, new: onnx_ir.Value | None) -> None:
    import onnx_ir

    assert new is not None
    if old.is_graph_output():
        return
    onnx_ir.convenience.replace_all_uses_with(old, new)
