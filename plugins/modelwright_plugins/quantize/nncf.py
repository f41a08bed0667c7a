"""Calibrated int8 for OpenVINO graphs, by NNCF."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from modelwright.api.context import StageContext
from modelwright.api.dataset import Split
from modelwright.api.model import Model, ModelSize
from modelwright.api.runner import Inputs
from modelwright.api.stage import MIB, Footprint, Stage
from modelwright_plugins.quantize.nncf_names import matching_operators, rename_counted

if TYPE_CHECKING:
    import openvino


class QuantizeNNCF(
    Stage,
    name="quantize.nncf",
    takes="openvino",
    gives="openvino",
    fidelity="approximate",
    tasks=("embed", "classify"),
    adds=("int8",),
    refuses=("int8", "weight-only"),
    requires=("nncf>=3.4,<3.5", "openvino>=2026.4,<2026.5"),
):
    """Quantize weights and activations to int8, with ranges calibrated on real text.

    ::

        stages:
          export:   {use: export.openvino}
          quantize: {use: quantize.nncf, data: docs}

    `data` names a data set; `samples` texts of its calibration split (chosen by the run's seed) are run one
    by one at their natural length. `preset` `mixed` gives activations a zero point, `performance` does not.
    `smooth_quant_alpha` moves outliers from activations into weights before quantizing (0 none of them, 1
    all; null skips it). `ignore` lists operators that stay in float by name or shell pattern, such as
    `encoder.layer.5.*`.

    `max_drop` is the loss of mean cosine similarity that is accepted against the float graph, on pooled
    embeddings (or logits) of `validation_samples` texts of the validation split. When the fully quantized
    graph loses more, each group of operators that shares a quantized input is put back to float by itself,
    and the groups that matter most stay in float until the target holds. Raises StageError when it cannot.
    The record `sensitivity` lists what every group costs, `quantization` what was decided.

    Methods: NNCF's post-training quantization; SmoothQuant (Xiao et al. 2023, arXiv:2211.10438).
    """

    data: str = Field(description="Data set whose calibration split sets the ranges.")
    samples: int = Field(300, ge=1, description="Texts to calibrate on.")
    preset: Literal["mixed", "performance"] = Field(
        "mixed", description="Asymmetric (mixed) or symmetric (performance) activations."
    )
    fast_bias_correction: bool = Field(True, description="Correct biases from averages, not layer by layer.")
    smooth_quant_alpha: float | None = Field(
        0.95, ge=0, le=1, description="Strength of SmoothQuant; null turns it off."
    )
    ignore: tuple[str, ...] = Field((), description="Operators that stay in float: names or patterns.")
    max_drop: float | None = Field(
        None, gt=0, lt=1, description="Accepted loss of mean cosine similarity on the validation split."
    )
    validation_samples: int = Field(64, ge=1, description="Texts that `max_drop` is judged on.")

    def depends_on_machine(self) -> bool:
        """Only with `max_drop`, whose figures come from this machine's arithmetic."""
        return self.max_drop is not None

    def run(self, model: Model, ctx: StageContext) -> None:
        """Calibrate, quantize, exclude what costs too much, save."""
        from modelwright_plugins.format.openvino_ir import GRAPH_FILE
        from modelwright_plugins.format.openvino_offline import import_openvino
        from modelwright_plugins.quantize.nncf_sensitivity import Judge, restore
        from modelwright_plugins.quantize.nncf_silence import nncf_logs_to
        from modelwright_plugins.text.companions import copy_companions

        openvino = import_openvino()
        graph = openvino.Core().read_model(str(model.path / GRAPH_FILE))
        batches = self._batches(model, graph, ctx, "calibration")
        ignored = matching_operators(graph, self.ignore, ctx.where("ignore"))
        names = {node.get_friendly_name() for node in graph.get_ordered_ops()}
        with nncf_logs_to(ctx.log):
            quantized = self._quantize(graph, batches, ignored)
        decisions: dict[str, object] = {"calibration_samples": len(batches), "ignored": list(ignored)}
        if self.max_drop is not None:
            checked = self._batches(model, graph, ctx, "validation")
            judge = Judge(model, graph, checked, ctx.target)
            quantized, outcome = restore(quantized, judge, self.max_drop, ctx)
            decisions |= {"validation_samples": len(checked), **outcome}
        _compress(quantized)
        rename_counted(quantized, names)
        openvino.save_model(quantized, str(ctx.out / GRAPH_FILE), compress_to_fp16=False)
        copy_companions(model.path, ctx.out)
        ctx.record("quantization", decisions)  # type: ignore[arg-type]
        ctx.describe(dtype="int8")

    def footprint(self, size: ModelSize) -> Footprint:
        """The float graph, its copy with statistics and the quantized one; weights shrink to a byte each."""
        result = ModelSize(parameters=size.parameters, weight_bytes=size.parameters + MIB)
        return Footprint(
            memory_bytes=700 * MIB + 6 * size.weight_bytes,
            disk_bytes=result.weight_bytes + MIB,
            result=result,
        )

    def _quantize(
        self, graph: openvino.Model, batches: list[Inputs], ignored: tuple[str, ...]
    ) -> openvino.Model:
        import nncf
        from nncf.openvino.quantization.backend_parameters import BackendParameters

        presets = {
            "mixed": nncf.QuantizationPreset.MIXED,
            "performance": nncf.QuantizationPreset.PERFORMANCE,
        }
        alpha = -1 if self.smooth_quant_alpha is None else self.smooth_quant_alpha
        return nncf.quantize(
            graph,
            nncf.Dataset(batches),
            preset=presets[self.preset],
            subset_size=len(batches),
            fast_bias_correction=self.fast_bias_correction,
            model_type=nncf.ModelType.TRANSFORMER,
            ignored_scope=nncf.IgnoredScope(names=list(ignored)) if ignored else None,
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=alpha),
                # Stored weights become int8 at the end, when it is settled which operators stay in float.
                backend_params={BackendParameters.COMPRESS_WEIGHTS: False},
            ),
        )

    def _batches(self, model: Model, graph: openvino.Model, ctx: StageContext, split: Split) -> list[Inputs]:
        """Texts one by one, so that no padding enters the ranges, with the inputs that the graph has."""
        from modelwright_plugins.text.calibration import text_batches

        count = self.samples if split == "calibration" else self.validation_samples
        wanted = [port.any_name for port in graph.inputs]
        batches = text_batches(model, ctx, self.data, split, count)
        return [{name: inputs[name] for name in wanted} for inputs in batches]


def _compress(quantized: openvino.Model) -> None:
    """Store quantized weights as int8 with their scale."""
    from openvino._offline_transformations import compress_quantize_weights_transformation

    compress_quantize_weights_transformation(quantized)
