"""Export to OpenVINO's intermediate representation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelwright.api.context import StageContext
from modelwright.api.model import Model, ModelSize
from modelwright.api.stage import MIB, Footprint, Stage


class ExportOpenVINO(
    Stage,
    name="export.openvino",
    takes="torch",
    gives="openvino",
    fidelity="exact",
    requires=(
        "torch>=2.13,<2.14",
        "transformers>=5.23,<5.24",
        "openvino>=2026.4,<2026.5",
    ),
):
    """Convert a checkpoint to an OpenVINO graph of any batch and length, attention kept as one operator.

    ::

        stages:
          export: {use: export.openvino}

    The graph has one output, `last_hidden_state` (task embed) or `logits`; what only served other outputs,
    such as a pooler, is left out. A language model's KV cache becomes state of the graph, which serves
    prompts and new tokens alike. Operators are named after the checkpoint's modules
    (`encoder.layer.0.attention.self.query`), so that later stages can refer to them, and the same
    checkpoint always gives the same bytes.

    `compress_to_fp16` stores float32 weights as float16. `inference_precision` fixes the arithmetic of the
    float operators; null leaves it to OpenVINO, which takes bf16 where the CPU has instructions for it.
    `cache_precision` is the type that a language model's keys and values are kept in.

    Method: torch.export through `transformers.exporters.OpenVINOExporter`.
    """

    compress_to_fp16: bool = Field(False, description="Store float32 weights as float16.")
    inference_precision: Literal["f32", "bf16", "f16"] | None = Field(
        None, description="Arithmetic of float operators; null lets OpenVINO choose for the CPU."
    )

    cache_precision: Literal["f32", "bf16", "f16", "u8"] | None = Field(
        None, description="Type of the KV cache; null lets OpenVINO choose."
    )

    def run(self, model: Model, ctx: StageContext) -> None:
        """Trace, convert, clean and save."""
        from modelwright_plugins.format.openvino_offline import import_openvino

        openvino = import_openvino()
        from transformers.exporters import OpenVINOConfig, OpenVINOExporter

        from modelwright_plugins.export.openvino_causal import trace_causal
        from modelwright_plugins.export.openvino_graph import keep_output, name_operators, strip_info
        from modelwright_plugins.export.sample_inputs import sample_inputs
        from modelwright_plugins.format.openvino_ir import GRAPH_FILE
        from modelwright_plugins.format.torch import load_checkpoint
        from modelwright_plugins.format.torch_tokenizer import copy_with_fast_tokenizer
        from modelwright_plugins.text.outputs import OUTPUTS

        loaded = load_checkpoint(model)
        copy_with_fast_tokenizer(model, ctx.out)
        if model.spec.task == "generate":
            graph = trace_causal(loaded)
        else:
            sample = sample_inputs(ctx.out, model.spec.max_length, loaded)
            graph = OpenVINOExporter().export(loaded, sample, config=OpenVINOConfig(dynamic=True)).program
        keep_output(graph, OUTPUTS[model.spec.task])
        name_operators(graph, [name for name, _ in [*loaded.named_parameters(), *loaded.named_buffers()]])
        strip_info(graph)
        openvino.save_model(graph, str(ctx.out / GRAPH_FILE), compress_to_fp16=self.compress_to_fp16)
        chosen = {
            "inference_precision": self.inference_precision,
            "cache_precision": self.cache_precision,
        }
        details = {key: value for key, value in chosen.items() if value is not None}
        dtype = "float16" if self.compress_to_fp16 else model.spec.dtype
        ctx.describe(dtype=dtype, details=details)

    def footprint(self, size: ModelSize) -> Footprint:
        """The weights once, shared by PyTorch and the graph, and what tracing adds; and the libraries."""
        stored = size.weight_bytes // 2 if self.compress_to_fp16 else size.weight_bytes
        return Footprint(
            memory_bytes=560 * MIB + int(1.15 * size.weight_bytes),
            disk_bytes=stored + MIB,
            result=ModelSize(parameters=size.parameters, weight_bytes=stored),
        )
