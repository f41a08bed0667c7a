from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.errors import RecipeError, StageError
from modelwright.testing.conformance import StageConformance
from modelwright.testing.texts import sentences
from modelwright_plugins.distill.embeddings import DistillEmbeddings
from modelwright_plugins.format.torch import Torch
from tests.plugins.distill.texts import context
from tests.plugins.stage_context import FolderContext
from tests.plugins.tiny_bert import save_tiny_bert

pytest.importorskip("accelerate", reason="needs accelerate")

SHORT = {"data": "texts", "layers": "first 1", "steps": 3, "pieces": 0}


class TestConformance(StageConformance):
    stage = DistillEmbeddings
    parameters = SHORT


def stage(**fields: object) -> DistillEmbeddings:
    usual = {
        "data": "docs",
        "layers": [1],
        "pieces": 0.5,
        "epochs": 2,
        "batch_size": 16,
        "learning_rate": 3e-3,
    }
    return DistillEmbeddings.model_validate({**usual, **fields})


def embeddings(model: Model) -> np.ndarray:
    return Torch().runner(model, Target(threads=1)).run(sentences(40, seed=9))


def cosine(one: Model, other: Model) -> float:
    ours, theirs = (
        found / np.linalg.norm(found, axis=1, keepdims=True) for found in map(embeddings, (one, other))
    )
    return float((ours * theirs).sum(1).mean())


def test_a_distilled_student_is_nearer_to_its_teacher_on_text_it_has_not_seen(
    tiny_checkpoint: Model, tmp_path: Path
) -> None:
    taught = context(tmp_path / "taught", tiny_checkpoint).apply(stage(), tiny_checkpoint)
    cut = context(tmp_path / "cut", tiny_checkpoint).apply(
        stage(steps=1, learning_rate=1e-12), tiny_checkpoint
    )
    assert json.loads((taught.path / "config.json").read_text("utf-8"))["num_hidden_layers"] == 1
    assert 1 - cosine(taught, tiny_checkpoint) < 0.2 * (1 - cosine(cut, tiny_checkpoint))
    assert taught.spec == tiny_checkpoint.spec


@pytest.mark.parametrize("fields", [{"distance": "mse"}, {"weight": 0, "similarity": 20}])
def test_other_distances_teach_as_well(
    tiny_checkpoint: Model, tmp_path: Path, fields: dict[str, object]
) -> None:
    ctx = context(tmp_path / "taught", tiny_checkpoint)
    ctx.apply(stage(**fields), tiny_checkpoint)
    losses = ctx.records["held_out_loss"]
    start = context(tmp_path / "start", tiny_checkpoint)
    start.apply(stage(steps=1, learning_rate=1e-12, **fields), tiny_checkpoint)
    assert losses[-1] < 0.3 * start.records["held_out_loss"][0]  # type: ignore[index, operator]


def test_the_incoming_model_can_be_the_student_of_the_recipes_model(
    tiny_checkpoint: Model, tmp_path: Path
) -> None:
    pruned = save_tiny_bert(tmp_path / "other", seed=5)
    before = cosine(pruned, tiny_checkpoint)
    taught = context(tmp_path / "taught", tiny_checkpoint).apply(stage(layers=None), pruned)
    assert cosine(taught, tiny_checkpoint) > before + 0.5


def test_outputs_kept_in_a_folder_serve_another_run_without_the_teacher(
    tiny_checkpoint: Model, tmp_path: Path
) -> None:
    teacher = save_tiny_bert(tmp_path / "teacher")
    kept = stage(offline=str(tmp_path / "kept"))
    first = context(tmp_path / "first", teacher)
    expected = first.apply(kept, tiny_checkpoint)
    (teacher.path / "model.safetensors").unlink()
    second = context(tmp_path / "second", teacher)
    assert second.apply(kept, tiny_checkpoint).digest == expected.digest
    assert second.records["teacher_outputs"] == first.records["teacher_outputs"]
    with pytest.raises(OSError, match=r"no file named model\.safetensors"):  # the teacher is really gone
        context(tmp_path / "third", teacher).apply(stage(), tiny_checkpoint)


def test_outputs_of_another_teacher_or_changed_ones_are_refused(
    tiny_checkpoint: Model, tmp_path: Path
) -> None:
    folder = tmp_path / "kept"
    context(tmp_path / "first", tiny_checkpoint).apply(stage(offline=str(folder)), tiny_checkpoint)
    other = save_tiny_bert(tmp_path / "other", seed=5)
    with pytest.raises(StageError, match="were made with another teacher; they are not used") as caught:
        context(tmp_path / "second", other).apply(stage(offline=str(folder)), tiny_checkpoint)
    assert f"stages.trial.offline: {folder}" in str(caught.value)
    with pytest.raises(StageError, match="were made with another examples"):
        context(tmp_path / "third", tiny_checkpoint).apply(
            stage(offline=str(folder), pieces=0), tiny_checkpoint
        )
    shard = folder / "train-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    with pytest.raises(StageError, match=r"changed: train-00000\.safetensors"):
        context(tmp_path / "fourth", tiny_checkpoint).apply(stage(offline=str(folder)), tiny_checkpoint)


def test_a_teacher_of_another_vocabulary_is_refused(tiny_checkpoint: Model, tmp_path: Path) -> None:
    other = save_tiny_bert(tmp_path / "other")
    file = other.path / "tokenizer.json"
    text = json.loads(file.read_text("utf-8"))
    vocabulary = text["model"]["vocab"]
    one, two = [*vocabulary][10:12]
    vocabulary[one], vocabulary[two] = vocabulary[two], vocabulary[one]
    file.write_text(json.dumps(text), encoding="utf-8")
    words = r"different vocabularies: 150 of the student's 152 tokens have the same id"
    with pytest.raises(RecipeError, match=words):
        stage().check_models(tiny_checkpoint.spec, {"original": tiny_checkpoint, "teacher": other})
    with pytest.raises(RecipeError, match=words):
        context(tmp_path / "run", other).apply(stage(), tiny_checkpoint)


def test_a_teacher_of_another_task_is_refused(tiny_checkpoint: Model, tiny_classifier: Model) -> None:
    with pytest.raises(
        RecipeError, match="The teacher is of format torch and task classify, the student of torch and embed"
    ):
        stage().check_models(tiny_checkpoint.spec, {"original": tiny_checkpoint, "teacher": tiny_classifier})


def test_no_text_is_a_clear_error(tiny_checkpoint: Model, tmp_path: Path) -> None:
    ctx = FolderContext(
        tmp_path / "run",
        data={("docs", "train"): [], ("docs", "validation"): []},
        models={"teacher": tiny_checkpoint},
    )
    with pytest.raises(RecipeError, match="The train split of 'docs' has no text to distill on"):
        ctx.apply(stage(), tiny_checkpoint)


def test_without_any_loss_there_is_nothing_to_train_for() -> None:
    with pytest.raises(ValueError, match="nothing is left to train for"):
        stage(weight=0)


def test_pieces_cover_the_texts_as_often_as_asked_for(tiny_checkpoint: Model, tmp_path: Path) -> None:
    def counted(pieces: float) -> int:
        ctx = context(tmp_path / f"{pieces}", tiny_checkpoint)
        ctx.apply(stage(pieces=pieces, steps=1), tiny_checkpoint)
        kept = ctx.records["teacher_outputs"]
        assert isinstance(kept, dict)
        return int(kept["examples"])

    whole, once, thrice = map(counted, (0, 1, 3))
    assert whole < once
    assert thrice - whole == pytest.approx(3 * (once - whole), rel=0.4)
