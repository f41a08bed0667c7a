"""What a Hugging Face checkpoint folder says of itself, read from its JSON files alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from modelwright.api.model import ModelSpec, Pooling, Task
from modelwright.errors import RecipeError
from modelwright_plugins.format.generation import describe_generation
from modelwright_plugins.format.json_file import read_json
from modelwright_plugins.format.safetensors_header import DTYPES, read_header
from modelwright_plugins.format.weight_files import weight_files

# What configurations call the longest text they take.
CONTEXT = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")


def describe_checkpoint(path: Path, *, trust_remote_code: bool) -> ModelSpec:
    """The spec of a checkpoint.

    Task from `architectures`; an encoder's pooling, normalization and length from sentence-transformers'
    files where the folder has them, else mean pooling without normalization and the model's own limit.
    """
    config = read_json(path / "config.json")
    if config.get("auto_map") and not trust_remote_code:
        raise RecipeError(
            "The checkpoint brings code of its own, which is not run unless you say so.",
            where=str(path / "config.json") + ", key auto_map",
            hint="read that code, then set model.trust_remote_code=true",
        )
    if config.get("quantization_config"):
        raise RecipeError(
            "The checkpoint is quantized already.",
            where=str(path / "config.json") + ", key quantization_config",
            accepted="a checkpoint in float32, bfloat16 or float16",
        )
    architecture = _architecture(path, config)
    task = _task(architecture, path)
    labels = config.get("id2label") or {}
    return ModelSpec(
        format="torch",
        task=task,
        architecture=architecture,
        dtype=_dtype(path),
        max_length=_max_length(path, config),
        pooling=_pooling(path) if task == "embed" else None,
        normalize=task == "embed" and "Normalize" in _module_types(path),
        labels=tuple(labels[key] for key in sorted(labels, key=int)) if task == "classify" else (),
        generation=describe_generation(path, config) if task == "generate" else None,
        trust_remote_code=trust_remote_code,
    )


def _architecture(path: Path, config: dict[str, Any]) -> str:
    named = config.get("architectures")
    if isinstance(named, list) and named and isinstance(named[0], str):
        return named[0]
    if named is None and (path / "modules.json").is_file():
        return str(config.get("model_type", "unknown"))
    raise RecipeError(
        f"config.json gives architectures as {named!r}.",
        where=str(path / "config.json") + ", key architectures",
        accepted='the class that the weights are of, such as ["LlamaForCausalLM"]',
        hint="download the checkpoint again",
    )


def _task(architecture: str, path: Path) -> Task:
    if architecture.endswith("ForSequenceClassification"):
        return "classify"
    if architecture.endswith(("ForCausalLM", "LMHeadModel")):
        return "generate"
    if "For" not in architecture or architecture.endswith("ForMaskedLM") or (path / "modules.json").is_file():
        return "embed"
    raise RecipeError(
        f"The architecture {architecture} is not served.",
        where=str(path / "config.json") + ", key architectures",
        accepted="…Model and …ForMaskedLM (task embed), …ForSequenceClassification (classify), …ForCausalLM "
        "(generate)",
    )


def _module_types(path: Path) -> set[str]:
    file = path / "modules.json"
    if not file.is_file():
        return set()
    try:
        return {str(module["type"]).rpartition(".")[2] for module in json.loads(file.read_text("utf-8"))}
    except (ValueError, KeyError, TypeError) as error:
        raise RecipeError("modules.json is not a list of modules.", where=str(file)) from error


def _pooling(path: Path) -> Pooling:
    modes = read_json(path / "1_Pooling" / "config.json")
    known: dict[str, Pooling] = {
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_cls_token": "cls",
        "pooling_mode_max_tokens": "max",
    }
    chosen = [mode for mode, on in modes.items() if mode.startswith("pooling_mode_") and on]
    if chosen and (len(chosen) > 1 or chosen[0] not in known):
        raise RecipeError(
            f"The pooling {', '.join(chosen)} is not served.",
            where=str(path / "1_Pooling" / "config.json"),
            accepted=", ".join(known),
        )
    return known[chosen[0]] if chosen else "mean"


def _max_length(path: Path, config: dict[str, Any]) -> int:
    limits = (
        read_json(path / "sentence_bert_config.json").get("max_seq_length"),
        read_json(path / "tokenizer_config.json").get("model_max_length"),
        *(config.get(key) for key in CONTEXT),
    )
    # Tokenizers without a limit store 1e30.
    return min(
        [int(limit) for limit in limits if isinstance(limit, int | float) and 0 < limit < 1e9] or [512]
    )


def _dtype(path: Path) -> str:
    sizes: dict[str, int] = {}
    for file in weight_files(path):
        for entry in read_header(file).values():
            if entry.dtype in DTYPES:
                sizes[entry.dtype] = sizes.get(entry.dtype, 0) + entry.elements
    return DTYPES[max(sizes, key=lambda dtype: sizes[dtype])] if sizes else "float32"
