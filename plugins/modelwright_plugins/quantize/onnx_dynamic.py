"""Dynamic int8 quantization of an ONNX graph."""

from __future__ import annotations

from pydantic import Field, JsonValue

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
    target_fields=("threads",),
    tasks=("embed", "classify"),
    refuses=("int8", "weight-only"),
    adds=("int8", "dynamic-int8"),
    requires=("onnx", "onnxruntime"),
):
    """Store weights in int8 and quantize activations while running.

    ::

        quantize: {use: quantize.onnx_dynamic, per_channel: true, exclude: ["node_MatMul_68"]}
        quantize: {use: quantize.onnx_dynamic, data: docs, smooth_quant_alpha: 0.85}

    Weights of MatMul and Gemm become int8 (one scale per tensor, or per output channel), and activations
    uint8 with a scale computed for each run (`DynamicQuantizeLinear`, `MatMulInteger`; ONNX Runtime,
    Quantize ONNX models). Embedding tables, the weights of Gather, become int8 with a scale for each row.
    `exclude` are node-name patterns that stay in floating point. One scale for a whole tensor is spoilt by
    its largest weights, so without `per_channel` they are clipped where that lowers the tensor's error.

    No data are needed. With `data`, `samples` texts of the calibration split move outlier channels from
    activations into weights first (SmoothQuant, Xiao et al. 2023, arXiv:2211.10438), which makes the error
    several times smaller for one multiplication per layer input. A run's scale covers its whole batch, so
    padding is embedded as the text's first token, where that changes no output.
    """

    per_channel: bool = Field(True, description="One scale per output channel instead of one per tensor.")
    reduce_range: bool | None = Field(
        None,
        description="7-bit weights; false: 8 bits, whose sums can saturate on x86 without VNNI; null: 8 bits "
        "in ranges where those of matrices cannot.",
    )
    operators: tuple[str, ...] = Field(
        ("MatMul", "Gemm", "Gather"), min_length=1, description="Operator types to quantize."
    )
    exclude: tuple[str, ...] = Field((), description="Node-name patterns (fnmatch) that are left alone.")
    data: str | None = Field(None, description="Data set whose calibration split smooths; null: none does.")
    samples: int = Field(128, ge=1, description="Texts to smooth with.")
    smooth_quant_alpha: float | None = Field(
        None,
        ge=0,
        le=1,
        description="How much of an outlier moves into the weights; null: 0.85 per channel, else 0.6.",
    )

    @property
    def _alpha(self) -> float:
        # A weight with one scale for all of it has less room for what smoothing moves there.
        if self.smooth_quant_alpha is not None:
            return self.smooth_quant_alpha
        return 0.85 if self.per_channel else 0.6

    def footprint(self, size: ModelSize) -> Footprint:
        """The graph, its quantized copy and the serialization of both; a quarter of the bytes remain."""
        result = ModelSize(parameters=size.parameters, weight_bytes=size.weight_bytes // 4)
        return Footprint(
            memory_bytes=190 * MIB + 4 * size.weight_bytes,
            disk_bytes=result.weight_bytes + 2 * MIB,
            result=result,
        )

    def run(self, model: Model, ctx: StageContext) -> None:
        """Smooth, quantize and save."""
        from onnxruntime.quantization import QuantType, quantize_dynamic

        from modelwright_plugins.format.onnx import GRAPH_FILE
        from modelwright_plugins.format.onnx_graph import load_graph, save_graph
        from modelwright_plugins.quantize.embedding_rows import quantize_embeddings
        from modelwright_plugins.quantize.onnx_nodes import (
            constant_layers,
            matching,
            operators_of,
            prepared,
            transpose_gemm_weights,
        )
        from modelwright_plugins.quantize.padding import embed_first_token_as_padding
        from modelwright_plugins.quantize.saturation import ranges_without_saturation
        from modelwright_plugins.quantize.smooth_quant import smooth
        from modelwright_plugins.quantize.weight_clipping import clip_weights
        from modelwright_plugins.text.calibration import text_batches

        copy_companions(model.path, ctx.out)
        graph = load_graph(model.path)
        excluded = matching(graph, self.exclude, ctx.where("exclude"))
        passes: dict[str, JsonValue] = {
            "padding embedded as first token": embed_first_token_as_padding(graph)
        }
        if self.data is not None:
            batches = text_batches(model, ctx, self.data, "calibration", self.samples)
            passes["inputs smoothed"] = smooth(graph, batches, self._alpha, frozenset(excluded))
        if not self.per_channel:
            passes["weights clipped"] = clip_weights(graph, frozenset(excluded))
        if "Gather" in self.operators:
            passes["embedding tables"] = quantize_embeddings(graph, frozenset(excluded))
        ctx.record("passes", passes)
        operators = [operator for operator in self.operators if operator != "Gather"]
        if operators:
            transpose_gemm_weights(graph)
            chosen = set(constant_layers(graph, operators)) - set(excluded)
            ranges = ranges_without_saturation(graph, chosen, per_channel=self.per_channel)
            scratch = ctx.scratch("quantize")
            quantize_dynamic(
                str(prepared(graph, scratch)),
                str(scratch / "output.onnx"),
                op_types_to_quantize=operators,
                # The quantizer turns Gemm into MatMul first, under such a name.
                nodes_to_exclude=[*excluded, *(f"{name}_MatMul" for name in excluded)],
                per_channel=self.per_channel,
                reduce_range=bool(self.reduce_range),
                weight_type=QuantType.QInt8,
                use_external_data_format=(scratch / f"{GRAPH_FILE}.data").exists(),
                extra_options={"TensorQuantOverrides": ranges if self.reduce_range is None else {}},
            )
            graph = load_graph(scratch, "output.onnx")
        ctx.record("operators", operators_of(graph))
        save_graph(graph, ctx.out)
        ctx.describe(dtype="int8")
