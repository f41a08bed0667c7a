from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from modelwright.api.metric import Value
from modelwright.api.model import Model, ModelSpec
from modelwright_plugins.metric.size import Size
from tests.plugins.stage_context import FolderContext


def folder(path: Path, share: float) -> Model:
    """A model of random floats, a share of them zero."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal(50_000).astype(np.float32)
    weights[rng.random(len(weights)) < share] = 0
    (path / "inner").mkdir(parents=True)
    weights.tofile(path / "inner" / "weights.bin")
    ModelSpec(format="torch", task="embed", architecture="None").write(path)
    return Model.open(path)


def measured(metric: Size, before: Model, after: Model, tmp_path: Path) -> dict[str, Value]:
    formats = {"torch": object()}
    ctx = FolderContext(tmp_path / "ctx", formats=formats)  # type: ignore[arg-type]
    return {value.name: value for value in ctx.measure({"after": after}, [metric], before)["after"]}


def test_zeros_compress_and_take_the_same_space(tmp_path: Path) -> None:
    dense, sparse = folder(tmp_path / "dense", 0), folder(tmp_path / "sparse", 0.5)
    values = measured(Size(zipped=True), dense, sparse, tmp_path)
    disk, zipped = values["size.disk"], values["size.zipped"]
    assert disk.ratio is not None
    assert disk.ratio.value == 1
    assert zipped.ratio is not None
    assert zipped.ratio.value > 1.5
    assert zipped.better == "lower"
    file = tmp_path / "sparse.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sparse.path.rglob("*"):
            archive.write(path)
    assert zipped.candidate.value == pytest.approx(file.stat().st_size, rel=0.01)


def test_nothing_is_compressed_unless_asked_for(tmp_path: Path) -> None:
    model = folder(tmp_path / "dense", 0)
    assert [*measured(Size(), model, model, tmp_path)] == ["size.disk"]
