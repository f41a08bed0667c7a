"""Reads a folder: config.json for the shape, headers for the parameters, each held against the other."""

from __future__ import annotations

import re
from pathlib import Path

from modelwright.api.anatomy import Anatomy, Group, Module, Shape, Tensor
from modelwright.errors import RecipeError, did_you_mean
from modelwright_plugins.anatomy.agreement import agree, surplus_notes
from modelwright_plugins.anatomy.config import Config
from modelwright_plugins.anatomy.families import FAMILIES
from modelwright_plugins.anatomy.headers import Stored, read_stored
from modelwright_plugins.anatomy.layout import adapted
from modelwright_plugins.format.json_file import read_json

EMBEDDING = re.compile(r"(embed|wte|wpe)[^.]*\.weight$", re.IGNORECASE)
HEAD = re.compile(r"(^|\.)(lm_head|output|score|classifier)\.weight$")
NORM = re.compile(r"(norm|ln_?\w*)\.(weight|bias)$", re.IGNORECASE)
LAYER = re.compile(r"^(.*?\.(?:layers|h|blocks|layer)\.(\d+))(?:\.|$)")


def read_anatomy(path: Path) -> Anatomy | None:
    """What the model of a Hugging Face folder is built of; None where there is no config.json.

    >>> read_anatomy(Path("examples/estimate/bloom-176b")).parameters
    176247271424

    A folder without weights is described by its config alone. With weights, their headers decide: what the
    config implies is checked against them. Of a `model_type` that is not known only the weights are
    counted, and its shape is not known. Raises RecipeError when there is nothing to go by, when a figure
    cannot be right, when files are missing, and when the config and the weights contradict each other.
    """
    file = path / "config.json"
    if not file.is_file():
        return None
    config = Config(read_json(file), file)
    kind = config.values.get("model_type")
    stored = read_stored(path)
    if not isinstance(kind, str) or kind not in FAMILIES:
        if stored is None:
            raise _unknown(kind, config)
        return _from_headers(str(kind or "unknown"), config, stored)
    layout = adapted(FAMILIES[kind](config), config)
    notes: tuple[str, ...] = ()
    if stored is not None and config.values.get("quantization_config"):
        notes = ("the weights are stored quantized; parameters are those of config.json",)
    elif stored is not None:
        seen = agree(layout, stored, config)
        notes, layout = surplus_notes(layout, seen), seen
    return Anatomy(
        architecture=config.architecture() or kind,
        model_type=kind,
        dtype=stored.dtype if stored else config.dtype(),
        modules=layout.modules,
        shape=layout.shape,
        tied=layout.tied,
        caches=layout.caches,
        stored_bytes=stored.weight_bytes if stored else 0,
        notes=notes,
    )


def _unknown(kind: object, config: Config) -> RecipeError:
    what = f"The model_type '{kind}' is not known" if kind else "config.json says no model_type"
    return RecipeError(
        f"{what}, and there are no weights whose headers could be counted.",
        where=config.where("model_type"),
        accepted=", ".join(sorted(FAMILIES)),
        hint=did_you_mean(str(kind), FAMILIES) if kind else None,
    )


def _from_headers(kind: str, config: Config, stored: Stored) -> Anatomy:
    """Count what is stored; the rest stays unknown."""
    modules: dict[str, list[Tensor]] = {}
    layers: dict[str, None] = {}
    for name, entry in sorted(stored.tensors.items(), key=lambda item: _order(item[0])):
        if found := LAYER.match(name):
            layers.setdefault(found[1])
            modules.setdefault(found[1], [])
        path, _, last = name.rpartition(".")
        modules.setdefault(path, []).append(_classified(name, last, entry.shape))
    return Anatomy(
        architecture=config.architecture() or kind,
        model_type=kind,
        dtype=stored.dtype,
        modules=tuple(Module(path, tuple(own), path in layers) for path, own in modules.items()),
        shape=Shape(layers=len(layers) or None),
        stored_bytes=stored.weight_bytes,
        notes=(
            f"the model_type '{kind}' is not known: parameters are those in the weights; "
            "its cache and its activations are not known",
        ),
    )


def _classified(name: str, last: str, shape: tuple[int, ...]) -> Tensor:
    group: Group = "other"
    if HEAD.search(name):
        group = "head"
    elif EMBEDDING.search(name):
        group = "embedding"
    elif len(shape) < 2:
        group = "norm" if NORM.search(name) else "other"
    elif len(shape) <= 3:
        group = "linear"
    return Tensor(last, shape, group, shape[-1] if group in ("linear", "head") else 0)


def _order(name: str) -> list[tuple[int, int, str]]:
    """Embeddings first, then layers by number, then the rest: about the order in which models run."""
    rank = 0 if EMBEDDING.search(name) else 1 if LAYER.match(name) else 2
    return [(rank, int(part) if part.isdigit() else 0, part) for part in name.split(".")]
