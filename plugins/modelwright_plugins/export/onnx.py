"""Export to ONNX through transformers' own exporter."""

from __future__ import annotations

from pydantic import Field

from modelwright.api.context import StageContext
from modelwright.api.model import Model, ModelSize
from modelwright.api.stage import MIB, Footprint, Stage
from modelwright.errors import StageError
from modelwright_plugins.text.companions import copy_companions
from modelwright_plugins.text.outputs import OUTPUTS


class ExportOnnx(
    Stage,
    name="export.onnx",
    takes="torch",
    gives="onnx",
    fidelity="exact",
    tasks=("embed", "classify"),
    requires=("torch", "transformers", "onnx", "onnxscript"),
):
    """Export a checkpoint to ONNX with dynamic batch and length.

    ::

        export: {use: export.onnx, opset: 23}

    From opset 23 on, attention is one `Attention` operator per layer (ONNX operators, Attention-23); below
    it is written out as MatMul and Softmax. The graph keeps only the output its task needs. Weights past
    protobuf's 2 GiB go to `model.onnx.data`. Raises StageError when the graph comes out without the output.
    """

    opset: int = Field(
        23, ge=18, le=24, description="ONNX opset; 23 or more keeps attention in one operator."
    )

    def footprint(self, size: ModelSize) -> Footprint:
        """Traced weights, their copy in the graph, and its serialization; torch itself and its exporter."""
        return Footprint(
            memory_bytes=620 * MIB + 4 * size.weight_bytes,
            disk_bytes=size.weight_bytes + 2 * MIB,
            result=size,
        )

    def run(self, model: Model, ctx: StageContext) -> None:
        """Trace, keep one output, strip what depends on this machine, save."""
        from transformers.exporters import OnnxConfig, OnnxExporter

        from modelwright_plugins.export.sample_inputs import sample_inputs
        from modelwright_plugins.format.onnx_graph import keep_output, name_dimensions, save_graph
        from modelwright_plugins.format.torch import load_checkpoint
        from modelwright_plugins.format.torch_tokenizer import save_fast_tokenizer

        copy_companions(model.path, ctx.out)
        save_fast_tokenizer(model.path, ctx.out, trust_remote_code=model.spec.trust_remote_code)
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
