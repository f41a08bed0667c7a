from __future__ import annotations

from pathlib import Path

import pytest

from modelwright.api.model import Model
from modelwright.errors import RecipeError
from modelwright.testing.conformance import StageConformance
from modelwright_plugins.distill.hidden import DistillHidden
from modelwright_plugins.distill.layer_pairs import uniform_pairs
from tests.plugins.distill.texts import context

pytest.importorskip("accelerate", reason="needs accelerate")

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel

from modelwright_plugins.distill.relations import relation_distance
from modelwright_plugins.format.torch import Torch


class TestConformance(StageConformance):
    stage = DistillHidden
    parameters = {"data": "texts", "layers": "first 1", "steps": 3, "pieces": 0, "relations": 0.5}  # noqa: RUF012


def stage(**fields: object) -> DistillHidden:
    usual = {
        "data": "docs",
        "layers": [1],
        "pieces": 0.5,
        "epochs": 2,
        "batch_size": 16,
        "learning_rate": 3e-3,
    }
    return DistillHidden.model_validate({**usual, "length": 32, **fields})


def held_out(stage: DistillHidden, student: Model, teacher: Model, folder: Path) -> tuple[float, Model]:
    ctx = context(folder, teacher)
    result = ctx.apply(stage, student)
    losses = ctx.records["held_out_loss"]
    assert isinstance(losses, list)
    return losses[-1], result  # type: ignore[return-value]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"distance": "cosine", "pairs": [[0, 0], [1, 2]]},
        {"weight": 0, "relations": 1},
        {"pairs": [[1, 2]], "embeddings": 1},
    ],
    ids=["uniform", "pairs", "relations", "embeddings"],
)
def test_an_encoder_comes_nearer_to_its_teacher(
    tiny_checkpoint: Model, tmp_path: Path, fields: dict[str, object]
) -> None:
    after, _ = held_out(stage(**fields), tiny_checkpoint, tiny_checkpoint, tmp_path / "taught")
    unchanged = stage(steps=1, learning_rate=1e-12, **fields)
    before, _ = held_out(unchanged, tiny_checkpoint, tiny_checkpoint, tmp_path / "start")
    assert after < 0.6 * before
    itself = stage(steps=1, learning_rate=1e-12, **{**fields, "layers": None, "pairs": None})
    assert held_out(itself, tiny_checkpoint, tiny_checkpoint, tmp_path / "itself")[0] < 1e-5


def test_a_language_model_matches_states_and_logits(tiny_causal: Model, tmp_path: Path) -> None:
    fields = {"layers": [0], "relations": 1, "logits": 1}
    after, _ = held_out(stage(epochs=4, **fields), tiny_causal, tiny_causal, tmp_path / "taught")
    unchanged = stage(steps=1, learning_rate=1e-12, **fields)
    before, _ = held_out(unchanged, tiny_causal, tiny_causal, tmp_path / "start")
    assert after < 0.7 * before


def narrow(checkpoint: Model, folder: Path) -> Model:
    """A random student of half the teacher's width."""
    for file in checkpoint.path.glob("*"):
        if file.is_file() and file.suffix == ".json":
            (folder / file.name).write_bytes(file.read_bytes())
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(checkpoint.path, hidden_size=16, intermediate_size=32)
    AutoModel.from_config(config).save_pretrained(folder)
    return Model(folder, Torch().describe(folder), "unread")


def test_a_narrower_student_learns_through_projections_that_are_thrown_away(
    tiny_checkpoint: Model, tmp_path: Path
) -> None:
    (tmp_path / "narrow").mkdir()
    student = narrow(tiny_checkpoint, tmp_path / "narrow")
    fields = {"layers": None, "relations": 1}
    after, result = held_out(stage(**fields), student, tiny_checkpoint, tmp_path / "taught")
    before, _ = held_out(
        stage(steps=1, learning_rate=1e-12, **fields), student, tiny_checkpoint, tmp_path / "start"
    )
    assert after < 0.9 * before
    names = load_file(result.path / "model.safetensors").keys()
    assert names == load_file(student.path / "model.safetensors").keys()
    with pytest.raises(RecipeError, match="embeddings are 16 wide, the teacher's 32"):
        held_out(stage(embeddings=1), student, tiny_checkpoint, tmp_path / "refused")


def test_padding_does_not_count_in_relations() -> None:
    torch.manual_seed(0)
    ours, theirs = torch.randn(2, 5, 8), torch.randn(2, 5, 16)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    padded = relation_distance(ours[:1], theirs[:1], 4, mask[:1])
    cut = relation_distance(ours[:1, :3], theirs[:1, :3], 4, mask[:1, :3])
    assert padded == pytest.approx(float(cut))
    assert relation_distance(ours, ours, 4, mask) == pytest.approx(0, abs=1e-6)


def test_depth_is_shared_out_evenly() -> None:
    assert uniform_pairs(3, 6) == ((1, 2), (2, 4), (3, 6))
    assert uniform_pairs(2, 2) == ((1, 1), (2, 2))
    assert uniform_pairs(4, 6)[-1] == (4, 6)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"pairs": [[1, 3]]}, r"The pair \[1, 3\] names a layer that is not there"),
        ({"relations": 1, "relation_heads": 3}, "3 relation heads do not divide a projection of width 32"),
    ],
)
def test_what_does_not_fit_is_refused(
    tiny_checkpoint: Model, tmp_path: Path, fields: dict[str, object], words: str
) -> None:
    with pytest.raises(RecipeError, match=words):
        held_out(stage(**fields), tiny_checkpoint, tiny_checkpoint, tmp_path / "run")


def test_what_the_task_does_not_have_is_refused(tiny_checkpoint: Model, tiny_causal: Model) -> None:
    with pytest.raises(RecipeError, match="task embed has no logits"):
        stage(logits=1).check(tiny_checkpoint.spec)
    with pytest.raises(RecipeError, match="task generate has no embeddings"):
        stage(embeddings=1).check(tiny_causal.spec)
    with pytest.raises(ValueError, match="nothing to train for"):
        stage(weight=0)


@pytest.mark.parametrize("fields", [{}, {"weight": 0, "relations": 1}, {"embeddings": 1}], ids=str)
def test_pieces_of_a_batch_add_up_to_it(
    tiny_checkpoint: Model, tmp_path: Path, fields: dict[str, object]
) -> None:
    """Whatever lengths come together in a piece, every text counts the same."""
    fields |= {"steps": 4, "batch_size": 16}
    _, whole = held_out(stage(**fields), tiny_checkpoint, tiny_checkpoint, tmp_path / "whole")
    _, cut = held_out(stage(accumulate=8, **fields), tiny_checkpoint, tiny_checkpoint, tmp_path / "cut")
    ours, theirs = (load_file(model.path / "model.safetensors") for model in (whole, cut))
    for name, tensor in ours.items():
        torch.testing.assert_close(theirs[name], tensor, rtol=1e-2, atol=2e-4)


def test_labels_are_compared_where_logits_are(tiny_classifier: Model) -> None:
    spec = tiny_classifier.spec.model_copy(update={"labels": ("verb", "noun")})
    models = {
        "original": tiny_classifier,
        "teacher": Model(tiny_classifier.path, spec, tiny_classifier.digest),
    }
    stage().check_models(tiny_classifier.spec, models)
    with pytest.raises(RecipeError, match="The teacher tells verb, noun apart, the student noun, verb"):
        stage(logits=1).check_models(tiny_classifier.spec, models)
