"""Keep padding out of the ranges that dynamic quantization finds while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modelwright_plugins.format.onnx_graph import add_initializer

if TYPE_CHECKING:
    import onnx_ir as ir

TOLERANCE = 1e-4


def embed_first_token_as_padding(model: ir.Model) -> int:
    """Look up each text's first token in the place of its padding; returns 1, or 0 where it is not exact.

    A dynamic range covers the whole batch, and activations at padded positions are often its extremes,
    although nothing reads them. The first token's are like those of the text. Done only where running the
    graph on a padded batch shows that the outputs of all other positions stay what they were.
    """
    import onnx_ir as ir

    inputs = {str(value.name): value for value in model.graph.inputs}
    if not {"input_ids", "attention_mask"} <= set(inputs):
        return 0
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    lookups = [node for node in model.graph if node.op_type == "Gather" and node.inputs[1] is ids]
    if not lookups:
        return 0
    before = _outputs(model)
    tape = ir.tape.Tape()
    shown = tape.op("Cast", [mask], attributes={"to": int(ir.DataType.BOOL)})
    # Gather keeps a list of one index as an axis of length 1, so that Where repeats it over the length.
    zero = add_initializer(model.graph, "padding_first", np.array([0]))
    first = tape.op("Gather", [ids, zero], attributes={"axis": 1})
    chosen = tape.op("Where", [shown, ids, first])
    chosen.shape, chosen.dtype = ids.shape, ids.dtype
    for number, node in enumerate(tape.nodes):
        node.name = node.outputs[0].name = f"padding_{number}"
    model.graph.insert_before(next(iter(model.graph)), tape.nodes)
    for node in lookups:
        node.replace_input_with(1, chosen)
    after = _outputs(model)
    if all(np.allclose(one, other, atol=TOLERANCE) for one, other in zip(before, after, strict=True)):
        return 1
    for node in lookups:
        node.replace_input_with(1, ids)
    for node in reversed(tape.nodes):
        model.graph.remove(node, safe=True)
    del model.graph.initializers["padding_first"]
    return 0


def _outputs(model: ir.Model) -> list[np.ndarray]:
    """What three padded texts of random tokens give: logits, or the vectors of all but the padding."""
    from modelwright_plugins.quantize.graph_values import values_of

    lengths, longest = np.array([[3], [7], [11]]), 11
    mask = (np.arange(longest) < lengths).astype(np.int64)
    # Ids this small are in every vocabulary.
    ids = np.random.default_rng(0).integers(2, 40, mask.shape) * mask
    feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(mask)}
    names = [str(value.name) for value in model.graph.outputs]
    found = next(values_of(model, names, [feed]))
    return [array[mask == 1] if array.ndim == 3 else array for array in found.values()]
