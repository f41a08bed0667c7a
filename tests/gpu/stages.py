"""One stage on the GPU, or on the CPU to compare with, over texts of `modelwright.testing`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from modelwright.api.dataset import Record, Split
from modelwright.api.model import Model
from modelwright.api.stage import Stage
from modelwright.api.target import Target
from modelwright.registry import Registry
from modelwright.testing.texts import write_texts
from tests.plugins.stage_context import FolderContext

CUDA = Target(device="cuda", provider="CUDAExecutionProvider", threads=4)
CPU = Target(threads=4)
SPLITS: tuple[Split, ...] = ("train", "validation", "calibration")


def context(folder: Path, teacher: Model, target: Target = CUDA) -> FolderContext:
    """A context whose data set `docs` has the same 160 records in every split."""
    folder.mkdir(parents=True)
    lines = write_texts(folder / "texts.jsonl", 160).read_text("utf-8").splitlines()
    records: list[Record] = [json.loads(line) for line in lines]
    data = {("docs", split): records for split in SPLITS}
    return FolderContext(folder / "run", data=data, models={"teacher": teacher}, target=target)


def apply(stage: Stage, model: Model, folder: Path, target: Target = CUDA) -> tuple[Model, FolderContext]:
    """What a stage makes of a model, which is its teacher too, and the context it ran in."""
    ctx = context(folder, model, target)
    return ctx.apply(stage, model), ctx


def tensors(model: Model) -> dict[str, Any]:
    """A checkpoint's weights by name."""
    from safetensors.torch import load_file

    found: dict[str, Any] = load_file(model.path / "model.safetensors")
    return found


def stage(use: str, **fields: Any) -> Stage:
    """A registered stage."""
    return Registry.load().stages.restore({"use": use, "parameters": fields})
