"""Calibrated static int8 quantization of an ONNX graph."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, JsonValue

from modelwright.api.context import StageContext
from modelwright.api.model import Model, ModelSize, ModelSpec
from modelwright.api.runner import Inputs
from modelwright.api.stage import MIB, Footprint, Stage
from modelwright.errors import RecipeError, StageError
from modelwright_plugins.text.companions import copy_companions

if TYPE_CHECKING:
    import onnx_ir as ir

    from modelwright_plugins.quantize.onnx_sensitivity import Switchboard


class QuantizeOnnxStatic(
    Stage,
    name="quantize.onnx_static",
    takes="onnx",
    gives="onnx",
    fidelity="approximate",
    target_fields=("threads",),
    tasks=("embed", "classify"),
    refuses=("int8", "weight-only"),
    adds=("int8",),
    requires=("onnx", "onnxruntime"),
):
    """Quantize weights and activations to int8, with activation ranges calibrated on real text.

    ::

        quantize: {use: quantize.onnx_static, data: docs, samples: 200}
        quantize: {use: quantize.onnx_static, data: docs, max_drop: 0.002, exclude: ["node_MatMul_1*"]}

    The result is in QDQ form: `QuantizeLinear` and `DequantizeLinear` around each MatMul and Gemm with
    constant weights, which ONNX Runtime runs as one int8 operator. Their outputs stay float, and so does
    all between them: attention, normalization, activation functions. Embedding tables, the weights of
    Gather, become int8 with a scale for each row. A text's result does not depend on its batch, as it does
    with ranges computed while running.

    `samples` texts of the calibration split of `data`, chosen by the seed, set the ranges and, before them,
    the factors that move outlier channels into the weights (`smooth_quant_alpha`; null skips it).

    The record `sensitivity` lists for each layer the mean cosine with the outputs of float layers when it
    alone is quantized, on `sensitivity_samples` texts of the validation split. `exclude_worst` layers are
    left in float, and more of them, worst first, until the loss of mean cosine is at most `max_drop`.

    Methods: Jacob et al. 2018, arXiv:1712.05877; SmoothQuant (Xiao et al. 2023, arXiv:2211.10438).
    """

    data: str = Field(description="Data set whose calibration split sets the ranges.")
    samples: int = Field(200, ge=1, description="Texts to calibrate on.")
    method: Literal["minmax", "entropy", "percentile"] = Field("minmax", description="How ranges are chosen.")
    smooth_quant_alpha: float | None = Field(
        0.85, ge=0, le=1, description="How much of an outlier moves into the weights; null: no smoothing."
    )
    per_channel: bool = Field(True, description="One weight scale per output channel instead of per tensor.")
    activation: Literal["uint8", "int8"] = Field(
        "uint8", description="uint8 has a zero point; int8 is symmetric, as GPUs need."
    )
    reduce_range: bool | None = Field(
        None,
        description="7-bit weights; false: 8 bits, whose sums can saturate on x86 without VNNI; null: 8 bits "
        "in ranges where those of matrices cannot.",
    )
    operators: tuple[Literal["MatMul", "Gemm", "Gather"], ...] = Field(
        ("MatMul", "Gemm", "Gather"), min_length=1, description="Operator types to quantize."
    )
    exclude: tuple[str, ...] = Field((), description="Node-name patterns (fnmatch) that are left alone.")
    exclude_worst: int = Field(0, ge=0, description="Most sensitive layers to leave in float.")
    max_drop: float | None = Field(
        None, gt=0, lt=1, description="Accepted loss of mean cosine on the validation split."
    )
    sensitivity_samples: int = Field(16, ge=1, description="Texts that sensitivity is measured on.")

    def check(self, spec: ModelSpec) -> None:
        """ONNX Runtime calibrates on the CPU, and half precision has too few values for histograms."""
        if spec.dtype not in ("float32", "float16"):
            raise RecipeError(
                f"ONNX Runtime, which calibrates the graph, does not compute in {spec.dtype} on the CPU.",
                where="parameter use",
                accepted="a graph in float32 or float16: cast.dtype with fp32 or fp16 before the export",
            )
        if self.method != "minmax" and spec.dtype != "float32":
            raise RecipeError(
                f"The method {self.method} counts values in bins finer than {spec.dtype} tells apart.",
                where="parameter method",
                accepted="minmax, or a graph in float32",
            )

    def depends_on_machine(self) -> bool:
        """Where layers are left in float by how they measure here."""
        return self.max_drop is not None or self.exclude_worst > 0

    def added_tags(self) -> Collection[str]:
        """Also `uint8`, where activations are, and `int8-embeddings`, where their tables are."""
        own = {"uint8": self.activation == "uint8", "int8-embeddings": "Gather" in self.operators}
        return (*self.adds, *(tag for tag, has in own.items() if has))

    def footprint(self, size: ModelSize) -> Footprint:
        """The graph, its augmented, quantized and switchable copies in float32.

        A quarter of that remains, more where tables of embeddings stay.
        """
        tables = "Gather" in self.operators
        left = size.parameters if tables else max(size.parameters, size.weight_bytes * 3 // 4)
        result = ModelSize(parameters=size.parameters, weight_bytes=left)
        return Footprint(
            memory_bytes=250 * MIB + 7 * 4 * size.parameters,
            disk_bytes=result.weight_bytes + 2 * MIB,
            result=result,
        )

    def run(self, model: Model, ctx: StageContext) -> None:
        """Smooth, calibrate, quantize, measure each layer, save."""
        from modelwright_plugins.format.onnx_graph import load_graph, save_graph
        from modelwright_plugins.quantize.embedding_rows import quantize_embeddings
        from modelwright_plugins.quantize.onnx_nodes import matching, operators_of
        from modelwright_plugins.quantize.onnx_sensitivity import Switchboard, quantized_layers, restore
        from modelwright_plugins.quantize.smooth_quant import smooth
        from modelwright_plugins.text.calibration import text_batches

        copy_companions(model.path, ctx.out)
        graph = load_graph(model.path)
        excluded = matching(graph, self.exclude, ctx.where("exclude"))
        batches = text_batches(model, ctx, self.data, "calibration", self.samples)
        if self.smooth_quant_alpha is not None:
            smooth(graph, batches, self.smooth_quant_alpha, frozenset(excluded))
        tables = quantize_embeddings(graph, frozenset(excluded)) if "Gather" in self.operators else 0
        quantized = self._quantized(graph, batches, excluded, ctx)
        layers = quantized_layers(quantized, graph)
        if not layers and not tables:
            raise StageError(
                "No layer of the graph is left to quantize.",
                where=ctx.where("exclude" if self.exclude else "operators"),
                accepted="operators that the graph has with constant weights, and not all of them excluded",
            )
        if layers:
            inputs = _padded(text_batches(model, ctx, self.data, "validation", self.sensitivity_samples))
            board = Switchboard(quantized, graph, model, inputs)
            worst = self._left_in_float(board, {str(x.node.name): x.label for x in layers}, ctx)
            restore(quantized, [layer for layer in layers if layer.node.name in worst])
        ctx.record("operators", operators_of(quantized))
        save_graph(quantized, ctx.out)
        ctx.describe(dtype="int8")

    def _quantized(
        self, graph: ir.Model, batches: list[Inputs], excluded: list[str], ctx: StageContext
    ) -> ir.Model:
        """The QDQ graph."""
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

        from modelwright_plugins.format.onnx_graph import load_graph
        from modelwright_plugins.quantize.onnx_nodes import constant_layers, prepared
        from modelwright_plugins.quantize.onnx_ranges import calibrate
        from modelwright_plugins.quantize.saturation import ranges_without_saturation

        operators = [operator for operator in self.operators if operator != "Gather"]
        chosen = [name for name in constant_layers(graph, operators) if name not in excluded]
        if not chosen:
            return graph
        scratch = ctx.scratch("quantize")
        file = prepared(graph, scratch)
        external = (scratch / f"{file.name}.data").exists()
        ranges = calibrate(file, batches, self.method, operators, ctx, external=external)
        weights = ranges_without_saturation(graph, chosen, per_channel=self.per_channel)
        names = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
        quantize_static(
            str(file),
            str(scratch / "output.onnx"),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=operators,
            nodes_to_quantize=chosen,
            per_channel=self.per_channel,
            reduce_range=bool(self.reduce_range),
            activation_type=QuantType.QUInt8 if self.activation == "uint8" else QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod[names[self.method]],
            calibration_cache_path=Path(ranges),
            use_external_data_format=external,
            extra_options={
                "ActivationSymmetric": self.activation == "int8",
                # A float output lets ONNX Runtime fuse each layer into one MatMulIntegerToFloat.
                "OpTypesToExcludeOutputQuantization": operators,
                "QuantizeBias": False,
                "TensorQuantOverrides": weights if self.reduce_range is None else {},
            },
        )
        return load_graph(scratch, "output.onnx")

    def _left_in_float(self, board: Switchboard, labels: dict[str, str], ctx: StageContext) -> set[str]:
        """Measure each layer alone; the names of those to put back."""
        alone: dict[str, float] = {}
        for number, name in enumerate(board.names):
            ctx.progress(number, len(board.names), "measuring each layer")
            alone[name] = board.similarity(on={name})
        ranked = sorted(board.names, key=lambda name: alone[name])
        count = min(self.exclude_worst, len(ranked))
        before = after = board.similarity(off=ranked[:count])
        while self.max_drop is not None and 1 - after > self.max_drop and count < len(ranked):
            count += 1
            after = board.similarity(off=ranked[:count])
        worst = ranked[:count]
        rows: list[JsonValue] = [
            {"layer": labels[name], "node": name, "cosine": round(alone[name], 6), "float": name in worst}
            for name in ranked
        ]
        ctx.record("sensitivity", rows)
        ctx.record("quantization", {"cosine_all_int8": before, "cosine": after, "left_in_float": list(worst)})
        return set(worst)


def _padded(batches: list[Inputs]) -> Inputs:
    """Batches of one text as one batch; padded positions are masked."""
    import numpy as np

    longest = max(batch["input_ids"].shape[1] for batch in batches)
    return {
        name: np.concatenate(
            [np.pad(batch[name], ((0, 0), (0, longest - batch[name].shape[1]))) for batch in batches]
        )
        for name in batches[0]
    }
