"""Export to GGUF, llama.cpp's file format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Literal, Self

from pydantic import Field, model_validator

from modelwright.api.context import StageContext
from modelwright.api.model import Model, ModelSize, ModelSpec
from modelwright.api.stage import MIB, Footprint, Stage
from modelwright_plugins.gguf.llama_cpp_library import llama_cpp_version, require_llama_cpp
from modelwright_plugins.gguf.types import (
    BITS,
    WITH_ZERO,
    FileType,
    TensorType,
    float_type,
    head_type,
    needs_llama_cpp,
    undivided,
)
from modelwright_plugins.prune.sparsity import without_sparsity


class ExportGGUF(
    Stage,
    name="export.gguf",
    takes="torch",
    gives="gguf",
    fidelity="approximate",
    tasks=("generate",),
    requires=("gguf>=0.19,<0.20",),
):
    """Write a checkpoint as one GGUF file that llama.cpp and what is built on it load.

    ::

        stages:
          export: {use: export.gguf, type: Q4_0}

    The file carries weights, configuration, tokenizer and chat template. Weights are read from safetensors
    some rows at a time: torch is not needed, nor memory for the model. Vectors stay float32. A matrix whose
    rows are no multiple of the type's blocks (32 weights) becomes F16; llama.cpp's quantizer has other
    stand-ins for blocks of 256. The report lists them.

    F32, F16, BF16, Q8_0, Q5_1, Q5_0, Q4_1 and Q4_0 are encoded by the `gguf` library; the others are
    mixtures of llama.cpp's own quantizer and take llama-cpp-python. Where that is installed, token ids by
    llama.cpp are compared with tokenizer.json's before the step ends.

    Architectures: Llama, Mistral, Qwen2, Qwen3, SmolLM3, OLMo 2, Granite. llama.cpp keeps no sliding window
    for these: with one, the context ends where the window does. Of a normalizer NFC, which llama.cpp does
    not apply, texts are taken to come so.
    """

    type: FileType = Field(description="Type of the weights; a name with _S, _M or _L is a mixture.")
    output_type: TensorType | None = Field(
        None,
        description="Type of the LM head, and of the embeddings it is tied to; null: the file's own type for "
        "floats, Q8_0 below 8 bits, and what llama.cpp's mixture takes.",
    )
    pre_tokenizer: str | None = Field(
        None,
        description="llama.cpp's name of the pre-tokenizer (gpt-2, llama-bpe, tekken ...); null finds it out "
        "and takes no difference between llama.cpp's token ids and tokenizer.json's.",
    )
    cache_precision: Literal["f16", "f32", "bf16", "q8_0"] = Field(
        "f16",
        description="Type of the KV cache when it is run here; f16 is llama.cpp's default, f32 also computes "
        "attention in float32.",
    )
    flash_attention: bool = Field(
        True,
        description="Whether llama.cpp fuses attention where it can when it is run here: on a CPU it reads "
        "prompts faster then, and gives tokens after long prompts slower.",
    )

    @model_validator(mode="after")
    def _cache_that_runs(self) -> Self:
        if self.cache_precision == "q8_0" and not self.flash_attention:
            raise ValueError("cache_precision q8_0 needs flash_attention: llama.cpp takes it no other way")
        return self

    @classmethod
    def versions(cls) -> dict[str, str]:
        """llama-cpp-python's too, where it is: it makes some of the types."""
        return super().versions() | llama_cpp_version()

    def check(self, spec: ModelSpec) -> None:
        """The architecture is known, and the quantizer there if the type takes it."""
        from modelwright_plugins.gguf.architecture import find_architecture

        find_architecture(spec.architecture, "config.json, key architectures")
        self._require_quantizer("export.gguf, parameter type")

    def tags_after(self, tags: Collection[str]) -> tuple[str, ...]:
        """Types with an offset have no exact zero."""
        kept = super().tags_after(tags)
        return kept if self.type in WITH_ZERO else without_sparsity(kept)

    def footprint(self, size: ModelSize) -> Footprint:
        """Libraries and some rows at a time; llama.cpp's quantizer holds more.

        Fitted to `python -m benchmarks.footprint`.
        """
        stored = int(size.parameters * BITS[self.type] / 8)
        return Footprint(
            memory_bytes=(165 if self._through_llama_cpp else 70) * MIB
            + min(70 * MIB, size.weight_bytes // 2),
            disk_bytes=stored + 8 * MIB,
            result=ModelSize(parameters=size.parameters, weight_bytes=stored),
        )

    def run(self, model: Model, ctx: StageContext) -> None:
        """Write the file, quantize it where llama.cpp has to, compare the tokenizers."""
        from modelwright_plugins.gguf.file import write_file
        from modelwright_plugins.gguf.header import MODEL_FILE, read_header
        from modelwright_plugins.gguf.quantize import quantize_file
        from modelwright_plugins.gguf.verify import verify_tokens
        from modelwright_plugins.text.companions import copy_companions

        self._require_quantizer(ctx.where("type"))
        out, pre = ctx.out / MODEL_FILE, (self.pre_tokenizer, ctx.where("pre_tokenizer"))
        if self._through_llama_cpp:
            floats, kind = ctx.scratch("floats") / MODEL_FILE, float_type(model.spec.dtype)
            written = write_file(model, floats, (kind, kind), pre, ctx.progress)
            quantize_file(floats, out, self.type, self.output_type, ctx.target.thread_count)
            floats.unlink()
        else:
            head = head_type(self.type, self.output_type) or self.type
            written = write_file(model, out, (self.type, head), pre, ctx.progress)
        copy_companions(model.path, ctx.out)
        tensors = read_header(ctx.out).tensors
        fallbacks = written.fallbacks | undivided(tensors, self.type)
        ctx.record("tensor_types", {**Counter(tensor.kind for tensor in tensors.values())})
        ctx.record("fallbacks", {**fallbacks})
        ctx.record(
            "tokenizer",
            {
                "pre_tokenizer": written.pre,
                "special": {**written.special},
                "chat_template": written.chat_template,
                "verified": verify_tokens(out, ctx.out, named=self.pre_tokenizer is not None),
            },
        )
        if written.window is not None:
            ctx.record("context", {"tokens": written.context, "limited_by": "sliding_window"})
        ctx.describe(
            dtype=self.type,
            max_length=min(written.context, model.spec.max_length),
            details={"cache_precision": self.cache_precision, "flash_attention": self.flash_attention},
        )

    @property
    def _through_llama_cpp(self) -> bool:
        return needs_llama_cpp(self.type, self.output_type)

    def _require_quantizer(self, where: str) -> None:
        if self._through_llama_cpp:
            made = f"{self.type} with a head of {self.output_type}" if self.output_type else self.type
            require_llama_cpp(where, f"The type {made} is made by llama.cpp's own quantizer, which")
