from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from modelwright.api.dataset import Record
from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.errors import RecipeError
from modelwright.testing.conformance import StageConformance
from modelwright_plugins.distill.logits import DistillLogits
from modelwright_plugins.format.torch import Torch
from tests.plugins.distill.texts import context, docs
from tests.plugins.stage_context import FolderContext

pytest.importorskip("accelerate", reason="needs accelerate")


class TestConformance(StageConformance):
    stage = DistillLogits
    parameters = {"data": "texts", "layers": "first 1", "steps": 3, "length": 32, "top_k": 8}  # noqa: RUF012
    task = "generate"


def stage(**fields: object) -> DistillLogits:
    usual = {"data": "docs", "layers": [0], "epochs": 4, "batch_size": 8, "learning_rate": 3e-3}
    return DistillLogits.model_validate({**usual, "length": 32, **fields})


def held_out(ctx: FolderContext) -> list[float]:
    losses = ctx.records["held_out_loss"]
    assert isinstance(losses, list)
    return losses  # type: ignore[return-value]


def test_a_language_model_comes_nearer_to_its_teacher(tiny_causal: Model, tmp_path: Path) -> None:
    ctx = context(tmp_path / "taught", tiny_causal)
    taught = ctx.apply(stage(alpha=1), tiny_causal)
    start = context(tmp_path / "start", tiny_causal)
    start.apply(stage(alpha=1, steps=1, learning_rate=1e-12), tiny_causal)
    assert held_out(ctx)[-1] < 0.7 * held_out(start)[0]
    before, after = tiny_causal.spec.generation, taught.spec.generation
    assert before is not None
    assert after is not None
    assert (after.vocabulary, after.cache_elements) == (before.vocabulary, before.cache_elements // 2)  # type: ignore[operator]


def test_all_logits_from_disk_teach_what_the_teacher_itself_does(tiny_causal: Model, tmp_path: Path) -> None:
    assert tiny_causal.spec.generation is not None
    vocabulary = tiny_causal.spec.generation.vocabulary
    kept, running = context(tmp_path / "kept", tiny_causal), context(tmp_path / "running", tiny_causal)
    kept.apply(stage(top_k=vocabulary), tiny_causal)
    running.apply(stage(), tiny_causal)
    np.testing.assert_allclose(held_out(kept), held_out(running), rtol=1e-4)
    few = context(tmp_path / "few", tiny_causal)
    few.apply(stage(top_k=2), tiny_causal)
    assert abs(held_out(few)[0] - held_out(running)[0]) > 1e-3


def test_labels_count_as_alpha_says(tiny_causal: Model, tmp_path: Path) -> None:
    unchanged = {"steps": 1, "learning_rate": 1e-12}
    losses = {}
    for alpha in (0.0, 0.25, 1.0):
        ctx = context(tmp_path / str(alpha), tiny_causal)
        ctx.apply(stage(alpha=alpha, **unchanged), tiny_causal)
        losses[alpha] = held_out(ctx)[0]
    assert losses[0.25] == pytest.approx(0.75 * losses[0.0] + 0.25 * losses[1.0], rel=1e-4)
    itself = context(tmp_path / "itself", tiny_causal)
    itself.apply(stage(alpha=1, layers=None, **unchanged), tiny_causal)
    assert held_out(itself)[0] == pytest.approx(0, abs=1e-5)


def test_a_classifier_learns_its_labels(tiny_classifier: Model, tmp_path: Path) -> None:
    data = docs(tmp_path / "docs")
    texts = [record["text"] for record in data["docs", "validation"]]
    labels = [record["label"] for record in data["docs", "validation"]]

    def right(model: Model) -> float:
        runner = Torch().runner(model, Target(threads=1))
        answers = [model.spec.labels[row] for row in runner.run(texts).argmax(axis=1)]
        return float(np.mean([one == other for one, other in zip(answers, labels, strict=True)]))

    taught = context(tmp_path / "taught", tiny_classifier).apply(
        stage(alpha=0.1, layers=[1], epochs=8), tiny_classifier
    )
    assert right(taught) > max(0.85, right(tiny_classifier))


def test_labels_that_are_not_there_are_refused_unless_the_teacher_is_all(
    tiny_classifier: Model, tmp_path: Path
) -> None:
    data = {
        ("docs", split): [Record(text=f"a file name {n}") for n in range(16)]
        for split in ("train", "validation")
    }
    for name, alpha in (("refused", 0.5), ("taught", 1.0)):
        ctx = FolderContext(
            tmp_path / name,
            data=data,
            models={"teacher": tiny_classifier},
            target=Target(threads=1),  # type: ignore[arg-type]
        )
        trained = stage(alpha=alpha, steps=1)
        if alpha == 1:
            ctx.apply(trained, tiny_classifier)
            continue
        with pytest.raises(RecipeError, match="32 texts have no label that the model knows") as caught:
            ctx.apply(trained, tiny_classifier)
        assert "alpha=1" in str(caught.value)


def test_a_teacher_with_other_labels_is_refused(tiny_classifier: Model) -> None:
    spec = tiny_classifier.spec.model_copy(update={"labels": ("verb", "noun")})
    teacher = Model(tiny_classifier.path, spec, tiny_classifier.digest)
    with pytest.raises(RecipeError, match="The teacher tells verb, noun apart, the student noun, verb"):
        stage().check_models(tiny_classifier.spec, {"original": tiny_classifier, "teacher": teacher})


def test_less_text_than_a_window_is_refused(tiny_causal: Model, tmp_path: Path) -> None:
    ctx = FolderContext(
        tmp_path / "run",
        data={("docs", "train"): [Record(text="a file")], ("docs", "validation"): [Record(text="a file")]},
        models={"teacher": tiny_causal},
    )
    with pytest.raises(RecipeError, match="tokens, fewer than one window of 32"):
        ctx.apply(stage(), tiny_causal)


def test_offline_says_that_it_needs_top_k() -> None:
    with pytest.raises(ValueError, match="offline needs top_k"):
        stage(offline="kept")


def test_a_classifier_without_a_padding_token_is_refused(tiny_classifier: Model, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_classifier.path, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "pad_token_id": None}))
    unpadded = Model(folder, tiny_classifier.spec, tiny_classifier.digest)
    with pytest.raises(RecipeError, match="names no padding token") as caught:
        context(tmp_path / "run", unpadded).apply(stage(steps=1), unpadded)
    assert "pad_token_id" in str(caught.value.accepted)
