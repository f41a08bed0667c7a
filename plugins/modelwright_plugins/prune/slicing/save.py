"""Writes a network that was cut, with the files beside it that say its sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from modelwright.api.context import StageContext
from modelwright.api.model import Model
from modelwright_plugins.format.checkpoint import describe_checkpoint
from modelwright_plugins.format.json_file import read_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What versions of sentence-transformers call the width of the vectors that are pooled.
POOLED_WIDTH = ("word_embedding_dimension", "embedding_dimension")


def save_cut(network: PreTrainedModel, model: Model, ctx: StageContext, out: Path) -> None:
    """Save into a folder that has the companions already, and describe the result by what it holds."""
    network.save_pretrained(out)
    pooling = out / "1_Pooling" / "config.json"
    if pooling.is_file():
        values = read_json(pooling)
        values |= {key: network.config.hidden_size for key in POOLED_WIDTH if key in values}
        pooling.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    found = describe_checkpoint(out, trust_remote_code=model.spec.trust_remote_code)
    ctx.describe(architecture=found.architecture, generation=found.generation)
