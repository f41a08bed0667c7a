"""What the report says of a checkpoint that a library has quantized, read off the saved files."""

from __future__ import annotations

from pydantic import JsonValue

from modelwright.api.context import StageContext
from modelwright.api.model import Model
from modelwright.errors import StageError
from modelwright_plugins.format.quantized_checkpoint import (
    QuantizedCheckpoint,
    owner,
    tensor_bytes,
    tensor_entries,
)
from modelwright_plugins.quantize.linear_layers import LinearLayers


def report_quantized(
    ctx: StageContext, model: Model, form: QuantizedCheckpoint, layers: LinearLayers, bits: int
) -> None:
    """Record each quantized layer, what stayed in float and why, and the bytes before and after.

    Raises StageError where the files do not hold the layers that were to be quantized, and no others.
    """
    weights = form.quantized_layers(ctx.out)
    if {*weights} != {*layers.taken}:
        differing = sorted({*weights} ^ {*layers.taken})
        raise StageError(
            f"{form.quant_method} did not quantize the layers it was given: it differs in {differing[0]}.",
            where=ctx.where("skip"),
            hint="transformers matches names by their beginning and end, too; skip a longer name",
        )
    quantized = dict.fromkeys(weights, 0)
    floats: dict[str, dict[str, JsonValue]] = {}
    kept_bytes = 0
    for name, entry in tensor_entries(ctx.out).items():
        layer, module = owner(name, weights), name.rpartition(".")[0]
        size = tensor_bytes(entry)
        if layer is not None and name != f"{layer}.bias":
            quantized[layer] += size
            continue
        kept_bytes += size
        if module in layers.kept:
            key, reason = module, layers.kept[module]
        elif len(entry.shape) > 1:
            key, reason = module, "not a linear layer"
        else:
            key, reason = "norms and biases", "vectors"
        row = floats.setdefault(key, {"what": key, "weights": 0, "bytes": 0, "reason": reason})
        row["weights"] = int(str(row["weights"])) + entry.elements
        row["bytes"] = int(str(row["bytes"])) + size
    rows: list[JsonValue] = [
        {"layer": layer, "bits": bits, "weights": weights[layer], "bytes": quantized[layer]}
        for layer in layers.taken
    ]
    total = sum(quantized.values())
    before = sum(map(tensor_bytes, tensor_entries(model.path).values()))
    ctx.record("layers", rows)
    ctx.record("kept_in_float", [*floats.values()])
    ctx.record("bits", {"codes": bits, "with_scales": 8 * total / sum(weights.values())})
    ctx.record(
        "bytes",
        {
            "before": before,
            "after": total + kept_bytes,
            "quantized_layers": total,
            "kept_in_float": kept_bytes,
        },
    )
