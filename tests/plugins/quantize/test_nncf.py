from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from modelwright.api.dataset import Record, Split
from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.errors import RecipeError, StageError
from modelwright.testing.texts import sentences
from modelwright_plugins.export.openvino import ExportOpenVINO
from modelwright_plugins.format.openvino import OpenVINO
from modelwright_plugins.quantize.nncf import QuantizeNNCF
from tests.plugins.stage_context import FolderContext
from tests.plugins.tiny_bert import save_tiny_bert

pytest.importorskip("openvino", reason="needs openvino")
pytest.importorskip("nncf", reason="needs nncf")

TARGET = Target(threads=1)
SPLITS: tuple[Split, Split] = ("calibration", "validation")


def records(seed: int, count: int = 24) -> list[Record]:
    return [{"text": text} for text in sentences(count, seed)]


DATA = {("docs", split): records(seed) for seed, split in enumerate(SPLITS, start=1)}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("float")
    checkpoint = save_tiny_bert(folder / "checkpoint")
    stage = ExportOpenVINO(inference_precision="f32")
    return FolderContext(folder / "export").apply(stage, checkpoint)


@pytest.fixture(scope="module")
def quantized(exported: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    ctx = FolderContext(tmp_path_factory.mktemp("int8"), data=DATA)
    return ctx.apply(QuantizeNNCF(data="docs", samples=24), exported)


def similarity(one: Model, other: Model) -> float:
    a, b = (OpenVINO().runner(m, TARGET).run(sentences(30, seed=9)) for m in (one, other))
    cosine = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return float(cosine.mean())


def test_weights_shrink_and_embeddings_stay(exported: Model, quantized: Model) -> None:
    small, large = (OpenVINO().size(m.path).weight_bytes for m in (quantized, exported))
    assert small < 0.45 * large
    assert quantized.spec.tags == ("int8",)
    assert quantized.spec.dtype == "int8"
    assert 0.99 < similarity(exported, quantized) < 0.999999


def test_layers_run_in_int8(quantized: Model) -> None:
    OpenVINO().check(quantized.path, deep=True)
    layers = OpenVINO().runner(quantized, TARGET).describe()["layers"]
    assert "FullyConnected f32" not in layers
    assert "8" in layers


def test_the_same_input_gives_the_same_bytes(exported: Model, quantized: Model, tmp_path: Path) -> None:
    ctx = FolderContext(tmp_path / "again", data=DATA)
    assert ctx.apply(QuantizeNNCF(data="docs", samples=24), exported).digest == quantized.digest


def test_calibration_text_matters(exported: Model, quantized: Model, tmp_path: Path) -> None:
    data = {("docs", "calibration"): [Record(text="a"), Record(text="the file")]}
    ctx = FolderContext(tmp_path / "poor", data=data)
    poor = ctx.apply(QuantizeNNCF(data="docs", samples=2), exported)
    assert similarity(exported, poor) < similarity(exported, quantized)


def test_ignored_operators_stay_in_float(exported: Model, quantized: Model, tmp_path: Path) -> None:
    ctx = FolderContext(tmp_path / "ignore", data=DATA)
    stage = QuantizeNNCF(data="docs", samples=8, ignore=("encoder.layer.0.*",))
    kept = ctx.apply(stage, exported)
    assert OpenVINO().size(kept.path).weight_bytes > OpenVINO().size(quantized.path).weight_bytes + 20_000
    assert "encoder.layer.0.output.dense" in ctx.records["quantization"]["ignored"]


def test_a_pattern_that_matches_nothing_is_refused(exported: Model, tmp_path: Path) -> None:
    ctx = FolderContext(tmp_path / "typo", data=DATA)
    stage = QuantizeNNCF(data="docs", ignore=("encoder.layer.0.output.dens",))
    with pytest.raises(RecipeError, match="No operator of the graph is called") as caught:
        ctx.apply(stage, exported)
    assert caught.value.hint == "did you mean 'encoder.layer.0.output.dense'?"


def test_a_small_accepted_drop_leaves_the_costliest_operators_in_float(
    exported: Model, quantized: Model, tmp_path: Path
) -> None:
    ctx = FolderContext(tmp_path / "all", data=DATA)
    stage = QuantizeNNCF(data="docs", samples=24, max_drop=0.5, validation_samples=12)
    ctx.apply(stage, exported)
    half = (1 - ctx.records["quantization"]["similarity_quantized"]) / 2
    ctx = FolderContext(tmp_path / "drop", data=DATA)
    restored = ctx.apply(stage.model_copy(update={"max_drop": half}), exported)
    decided = ctx.records["quantization"]
    assert 1 - decided["similarity"] <= half < 1 - decided["similarity_quantized"]
    gains = [row["gain"] for row in ctx.records["sensitivity"]]
    assert gains == sorted(gains, reverse=True)
    assert 0 < len(decided["left_float"]) < 10
    assert decided["left_float"][0] in ctx.records["sensitivity"][0]["operators"]
    assert similarity(exported, restored) > similarity(exported, quantized)
    assert OpenVINO().size(restored.path).weight_bytes < OpenVINO().size(exported.path).weight_bytes


def test_a_drop_that_holds_excludes_nothing(exported: Model, quantized: Model, tmp_path: Path) -> None:
    ctx = FolderContext(tmp_path / "lenient", data=DATA)
    same = ctx.apply(QuantizeNNCF(data="docs", samples=24, max_drop=0.5), exported)
    assert same.digest == quantized.digest
    assert ctx.records["quantization"]["left_float"] == []
    assert "sensitivity" not in ctx.records


def test_a_drop_that_cannot_hold_fails_the_stage(exported: Model, tmp_path: Path) -> None:
    spec = exported.spec.model_copy(update={"details": {"inference_precision": "bf16"}})
    rounded = Model(exported.path, spec, exported.digest)
    if OpenVINO().runner(rounded, TARGET).describe()["precision"] != "bf16":
        pytest.skip("this CPU has no bf16 arithmetic, whose rounding the test needs")
    ctx = FolderContext(tmp_path / "impossible", data=DATA)
    few = ("encoder.*", "ScaledDotProductAttention_*")
    stage = QuantizeNNCF(data="docs", samples=4, ignore=few, max_drop=1e-9, validation_samples=2)
    with pytest.raises(StageError, match="With every operator that helps back in float"):
        ctx.apply(stage, rounded)


def test_too_few_texts_are_used_and_noted(
    exported: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    ctx = FolderContext(tmp_path / "few", data={("docs", "calibration"): records(1, 5)})
    with caplog.at_level(logging.INFO, "modelwright"):
        ctx.apply(QuantizeNNCF(data="docs", samples=300), exported)
    assert "5 texts in the calibration split, fewer than the 300 asked for" in caplog.text
    assert ctx.records["quantization"]["calibration_samples"] == 5
    assert "Statistics collection" not in capfd.readouterr().out


def test_no_text_is_refused(exported: Model, tmp_path: Path) -> None:
    ctx = FolderContext(tmp_path / "none", data={("docs", "calibration"): [Record(label="x")]})
    with pytest.raises(RecipeError, match="The calibration split of 'docs' has no text"):
        ctx.apply(QuantizeNNCF(data="docs"), exported)


def test_only_an_accepted_drop_makes_the_result_depend_on_the_machine() -> None:
    assert QuantizeNNCF(data="docs", max_drop=0.01).depends_on_machine()
    assert not QuantizeNNCF(data="docs").depends_on_machine()
