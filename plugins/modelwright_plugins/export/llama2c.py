"""Export to llama2.c's model file."""

from __future__ import annotations

import dataclasses

from pydantic import Field

from modelwright.api.context import StageContext
from modelwright.api.model import Model, ModelSize, ModelSpec
from modelwright.api.stage import MIB, Footprint, Stage
from modelwright_plugins.llama2c.layout import Version


class ExportLlama2c(
    Stage,
    name="export.llama2c",
    takes="torch",
    gives="llama2c",
    fidelity="approximate",
    tasks=("generate",),
):
    """Write a Llama checkpoint as the `model.bin` that llama2.c and the programs built like it load.

    ::

        stages:
          export: {use: export.llama2c, version: 2}

    Version 0 is float32 for run.c, 1 the same with a header of its own, 2 int8 in groups for runq.c. The
    checkpoint is read some rows at a time, in any float type; torch is not needed. Rows of queries and keys
    are put into llama2.c's order for rotary positions. The classifier is written unless its values are the
    embedding table's, whatever config.json says.

    The C programs hard-code what a file has no place for. Refused are other architectures than Llama, biases,
    other activations than SiLU, scaled rotary positions or a base other than 10,000, norms with another
    epsilon than 1e-5, heads whose widths do not add up to the hidden size, and sliding windows.

    `tokenizer.bin` comes from tokenizer.json: byte-level BPE, or BPE with byte fallback as converted from
    SentencePiece. run.c's own encoder is Llama 2's: it begins with token 1 and a space, does not cut words,
    and stops at token 1. The report lists where that differs; token ids from the checkpoint's tokenizer are
    right in any case.

    The context written is the model's `max_length`: run.c allocates its cache for all of it.

    Source: llama2.c (https://github.com/karpathy/llama2.c), `export.py`, `run.c`, `runq.c`.
    """

    version: Version = Field(0, description="Version of the format: 0, 1 (float32) or 2 (int8 in groups).")
    group_size: int = Field(
        64,
        ge=1,
        le=4096,
        description="Weights that share a scale in version 2; halved until rows are whole groups.",
    )
    tokenizer_bin: bool = Field(True, description="Write tokenizer.bin too, where there is a tokenizer.json.")

    def check(self, spec: ModelSpec) -> None:
        """The architecture is Llama's; what else can be wrong is in config.json, which `run` reads first."""
        from modelwright_plugins.llama2c.architecture import check_architecture

        check_architecture(spec.architecture, "config.json, key architectures")

    def footprint(self, size: ModelSize) -> Footprint:
        """The libraries, and some rows of the largest tensor a few times over."""
        stored = size.parameters * 4
        rows = min(stored * 3 // 5, (90 if self.version == 2 else 83) * MIB)
        if self.version == 2:
            stored = size.parameters + stored // self.group_size
        return Footprint(
            memory_bytes=58 * MIB + rows,
            disk_bytes=stored + MIB,
            result=ModelSize(parameters=size.parameters, weight_bytes=stored),
        )

    def run(self, model: Model, ctx: StageContext) -> None:
        """Refuse what cannot be expressed, then write tokenizer and model."""
        from modelwright_plugins.anatomy.config import Config
        from modelwright_plugins.format.json_file import read_json
        from modelwright_plugins.llama2c.architecture import read_header
        from modelwright_plugins.llama2c.checkpoint import find_tensors, match_weights, shares_classifier
        from modelwright_plugins.llama2c.quantize import fit_group
        from modelwright_plugins.llama2c.read import MODEL_FILE
        from modelwright_plugins.llama2c.tokenizer_file import TOKENIZER_FILE, write_tokenizer
        from modelwright_plugins.llama2c.vocabulary import read_pieces
        from modelwright_plugins.llama2c.write import write_model
        from modelwright_plugins.text.companions import copy_companions
        from modelwright_plugins.text.tokenize import TOKENIZER_FILE as SOURCE

        file = model.path / "config.json"
        config, found = Config(read_json(file), file), find_tensors(model.path)
        header = read_header(config, model.spec.max_length, self.version)
        tied = config.flag("tie_word_embeddings", default=False)
        header = dataclasses.replace(
            header,
            shared=shares_classifier(found, tied=tied, where=config.where("tie_word_embeddings")),
            group_size=fit_group(self.group_size, header.dim, header.hidden_dim) if self.version == 2 else 0,
        )
        weights = match_weights(found, header, model.path)
        if self.tokenizer_bin and (model.path / SOURCE).is_file():
            pieces, differences = read_pieces(model.path, header.vocabulary)
            write_tokenizer(ctx.out / TOKENIZER_FILE, pieces)
            ctx.record("tokenizer", {"tokens": len(pieces), "run_c_differs": [*differences]})
        write_model(ctx.out / MODEL_FILE, header, weights, ctx.progress)
        copy_companions(model.path, ctx.out)
        ctx.record("header", dataclasses.asdict(header))
        ctx.describe(dtype="int8" if self.version == 2 else "float32")
