"""Dynamic int8 quantization of an ONNX graph."""

from __future__ import annotations

from pydantic import Field

from modelwright.api.context import StageContext
from modelwright.api.model import Model, ModelSize
from modelwright.api.stage import MIB, Footprint, Stage
from modelwright_plugins.text.companions import copy_companions


class QuantizeOnnxDynamic(
    Stage,
    name="quantize.onnx_dynamic",
    takes="onnx",
    gives="onnx",
    fidelity="approximate",
    refuses=("int8",),
    adds=("int8",),
    requires=("onnx", "onnxruntime"),
):
    """Store weights in int8 and quantize activations while running; needs no data.

    ::

        quantize: {use: quantize.onnx_dynamic, per_channel: true, exclude: ["*/pooler/*"]}

    Weights of MatMul, Gemm and Gather become int8 (one scale per tensor, or per output channel), and
    activations uint8 with a scale computed for each run (`DynamicQuantizeLinear`, `MatMulInteger`; ONNX
    Runtime, Quantize ONNX models). `exclude` are node-name patterns that stay in floating point.
    """

    per_channel: bool = Field(True, description="One scale per output channel instead of one per tensor.")
    reduce_range: bool = Field(
        False, description="7-bit weights, for CPUs without VNNI whose 16-bit sums would saturate."
    )
    operators: tuple[str, ...] = Field(
        ("MatMul", "Gemm", "Gather"), min_length=1, description="Operator types to quantize."
    )
    exclude: tuple[str, ...] = Field((), description="Node-name patterns (fnmatch) that are left alone.")

    def footprint(self, size: ModelSize) -> Footprint:
        """The graph, its quantized copy and the serialization of both; a quarter of the bytes remain."""
        result = ModelSize(parameters=size.parameters, weight_bytes=size.weight_bytes // 4)
        return Footprint(
            memory_bytes=190 * MIB + 4 * size.weight_bytes,
            disk_bytes=result.weight_bytes + 2 * MIB,
            result=result,
        )

    def run(self, model: Model, ctx: StageContext) -> None:
        """Quantize and save."""
        from onnxruntime.quantization import QuantType, quantize_dynamic

        from modelwright_plugins.quantize.onnx_nodes import finish, matching, prepared

        copy_companions(model.path, ctx.out)
        scratch = ctx.scratch("quantize")
        prepared(model.path, scratch / "input.onnx")
        quantize_dynamic(
            str(scratch / "input.onnx"),
            str(scratch / "output.onnx"),
            op_types_to_quantize=list(self.operators),
            nodes_to_exclude=matching(scratch / "input.onnx", self.exclude, "stages.….exclude"),
            per_channel=self.per_channel,
            reduce_range=self.reduce_range,
            weight_type=QuantType.QInt8,
        )
        ctx.record("operators", finish(scratch / "output.onnx", ctx.out))
        ctx.describe(dtype="int8")
