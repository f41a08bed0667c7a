"""Export to ONNX: traced by transformers' exporter, or written by GenAI's model builder."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from pydantic import Field

from modelwright.api.component import installed_version
from modelwright.api.context import StageContext
from modelwright.api.model import Model, ModelSize, ModelSpec
from modelwright.api.stage import MIB, Footprint, Stage
from modelwright.errors import RecipeError, StageError
from modelwright_plugins.format.onnx import STANDARD_ATTENTION
from modelwright_plugins.text.outputs import OUTPUTS

# Families whose layers carry a recurrent state; the export looks at the model itself, this refuses earlier.
RECURRENT = ("Mamba", "FalconMamba", "Rwkv", "RecurrentGemma", "xLSTM", "Jamba", "Bamba", "Zamba")


class ExportOnnx(
    Stage,
    name="export.onnx",
    takes="torch",
    gives="onnx",
    fidelity="exact",
    target_fields=("provider",),
    requires=("torch", "transformers", "onnx", "onnx-ir", "onnxscript"),
):
    """Export a checkpoint to ONNX with dynamic batch and length.

    ::

        export: {use: export.onnx, opset: 23}

    An encoder's graph keeps only the output its task needs. From opset 23 on, attention is one `Attention`
    operator per layer (ONNX operators, Attention-23); below it is written out as MatMul and Softmax.

    A model that generates becomes one graph for prefill and decode, with its KV cache as inputs and outputs.
    Attention and the cache's update are one operator per layer: `gqa` is ONNX Runtime's GroupQueryAttention,
    which updates a bound buffer in place but continues a past by several tokens only in a batch of one;
    `attention` is ONNX's own, for other runtimes. `require_fused` fails the step where a layer's attention
    is no such operator; null asks it of models with rotary positions or shared key-value heads. With
    `graph: builder` the graph is written by ONNX Runtime GenAI's model builder, for the architectures it
    knows: in a fraction of the time, with weights packed, and batches to be padded on the right.

    Weights that don't fit in the graph go to `model.onnx.data`. Raises StageError when the graph comes out
    without what it needs, or when the model has no cache of keys and values.
    """

    opset: int = Field(
        23, ge=18, le=24, description="ONNX opset; 23 or more keeps attention in one operator."
    )
    graph: Literal["trace", "builder"] = Field(
        "trace", description="Trace the model's own code, or let the GenAI model builder write the graph."
    )
    attention: Literal["gqa", "attention"] = Field(
        "gqa", description="Operator of attention over a KV cache: ONNX Runtime's or ONNX's own."
    )
    require_fused: bool | None = Field(
        None, description="Fail unless every layer's attention is one operator; null decides by the model."
    )

    @classmethod
    def versions(cls) -> dict[str, str]:
        """The model builder's too, where it is: it writes some of the graphs."""
        builder = installed_version("onnxruntime-genai")
        return super().versions() | ({"onnxruntime-genai": builder} if builder else {})

    def added_tags(self) -> Collection[str]:
        """`standard-attention`, where attention over a cache is ONNX's own."""
        return (*self.adds, STANDARD_ATTENTION) if self.attention == "attention" else self.adds

    def check(self, spec: ModelSpec) -> None:
        """Refuse what has no KV cache, and a graph with a cache below opset 23."""
        if spec.task != "generate":
            if self.graph == "builder":
                raise RecipeError(
                    f"The model builder writes graphs of models that generate, and the task is {spec.task}.",
                    where="parameter graph",
                    accepted="trace",
                )
            return
        if spec.architecture.startswith(RECURRENT):
            raise RecipeError(
                f"{spec.architecture} carries a recurrent state instead of keys and values.",
                where="model.path",
                accepted="decoder-only models that cache keys and values of each token",
            )
        if self.graph == "builder":
            from modelwright_plugins.export.onnx_builder import require_architecture

            if self.attention != "gqa":
                raise RecipeError(
                    "The model builder writes GroupQueryAttention alone.",
                    where="parameter attention",
                    accepted="gqa",
                )
            if self.changed("opset"):
                raise RecipeError(
                    "The model builder chooses the opset itself.",
                    where="parameter opset",
                    accepted="graph: trace",
                )
            require_architecture(spec.architecture, "parameter graph")
        elif self.opset < 23:
            raise RecipeError(
                f"A model that generates needs opset 23 or more, and this is {self.opset}.",
                where="parameter opset",
                accepted="23 or 24: the first with Attention, RotaryEmbedding and RMSNormalization",
            )

    def footprint(self, size: ModelSize) -> Footprint:
        """An encoder: traced weights, their copy in the graph, and its serialization; and the libraries."""
        if size.anatomy is not None and size.anatomy.shape.generates:
            if self.graph == "builder":
                from modelwright_plugins.export.genai import ExportGenAI

                return ExportGenAI(precision="fp32").footprint(size)
            from modelwright_plugins.export.onnx_causal import causal_footprint

            return causal_footprint(size)
        return Footprint(
            memory_bytes=620 * MIB + 4 * size.weight_bytes,
            disk_bytes=size.weight_bytes + 2 * MIB,
            result=size,
        )

    def run(self, model: Model, ctx: StageContext) -> None:
        """Trace or build, strip what depends on this machine, save."""
        from modelwright_plugins.format.torch_tokenizer import copy_with_fast_tokenizer

        copy_with_fast_tokenizer(model, ctx.out)
        if model.spec.task != "generate":
            self._export_encoder(model, ctx)
        elif self.graph == "builder":
            from modelwright_plugins.export.onnx_builder import build_graph, require_fused_attention

            ctx.progress(1, 2, "building")
            build_graph(
                model.path,
                ctx.out,
                architecture=model.spec.architecture,
                provider=ctx.target.provider,
                scratch=ctx.scratch("builder"),
                where=ctx.where("graph"),
            )
            if self.require_fused is not False:
                require_fused_attention(ctx.out, model.path, ctx.where("require_fused"))
            ctx.describe(dtype="float32")
        else:
            from modelwright_plugins.export.onnx_causal import trace_causal

            trace_causal(
                model, ctx, opset=self.opset, attention=self.attention, require_fused=self.require_fused
            )

    def _export_encoder(self, model: Model, ctx: StageContext) -> None:
        from transformers.exporters import OnnxConfig, OnnxExporter

        from modelwright_plugins.export.sample_inputs import sample_inputs
        from modelwright_plugins.format.onnx_graph import keep_output, name_dimensions, save_graph
        from modelwright_plugins.format.torch import load_checkpoint

        checkpoint = load_checkpoint(model)
        ctx.progress(1, 3, "tracing")
        inputs = sample_inputs(ctx.out, model.spec.max_length, checkpoint)
        exported = OnnxExporter().export(
            checkpoint, inputs, config=OnnxConfig(dynamic=True, opset_version=self.opset)
        )
        graph = exported.program
        ctx.progress(2, 3, "saving")
        wanted = OUTPUTS[model.spec.task]
        if wanted not in [value.name for value in graph.graph.outputs]:
            raise StageError(
                f"The exported graph has no output '{wanted}'.",
                where=model.spec.architecture,
                accepted=", ".join(str(value.name) for value in graph.graph.outputs),
            )
        keep_output(graph, wanted)
        name_dimensions(graph)
        save_graph(graph, ctx.out)
        ctx.describe(dtype=model.spec.dtype)
