"""Training on the GPU: it learns, masks hold, and it goes on from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelwright.api.model import Model
from tests.gpu.stages import apply, context, stage, tensors

STEPS: dict[str, Any] = {
    "data": "docs",
    "steps": 24,
    "batch_size": 8,
    "learning_rate": 2e-3,
    "evaluate_every": 8,
    "checkpoint_every": 10,
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("distill.logits", {"layers": "first 1", "length": 32}),
    "llama top 8": ("distill.logits", {"layers": "first 1", "length": 32, "top_k": 8}),
    "llama in bf16": ("distill.logits", {"layers": "first 1", "length": 32, "precision": "bf16"}),
    "llama hidden": ("distill.hidden", {"layers": "first 1", "length": 32, "relations": 1, "logits": 1}),
    "classifier": ("distill.logits", {"layers": "first 1"}),
    "encoder": ("distill.embeddings", {"layers": "first 1", "similarity": 1}),
    "encoder hidden": ("distill.hidden", {"layers": "first 1", "relations": 1, "embeddings": 1}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_student_learns(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    model: Model = request.getfixturevalue(name.partition(" ")[0])
    use, fields = CASES[name]
    _, ctx = apply(stage(use, **STEPS, **fields), model, tmp_path / "trained")
    losses: list[float] = ctx.records["loss"]  # type: ignore[assignment]
    assert len(losses) == STEPS["steps"]
    assert sum(losses[-4:]) < 0.95 * sum(losses[:4])


@pytest.mark.parametrize("pattern", [None, "2:4"])
def test_zeros_that_were_there_stay(llama: Model, tmp_path: Path, pattern: str | None) -> None:
    fields: dict[str, Any] = {"pattern": pattern} if pattern else {"sparsity": 0.5}
    sparse, _ = apply(stage("prune.magnitude", **fields), llama, tmp_path / "sparse")
    trained, _ = apply(stage("distill.logits", **STEPS, length=32), sparse, tmp_path / "trained")
    before, after = tensors(sparse), tensors(trained)
    pruned = [name for name in before if name.endswith("proj.weight")]
    assert pruned
    for name in pruned:
        assert ((before[name] == 0) <= (after[name] == 0)).all()
        assert (before[name] != after[name]).any()


@pytest.mark.parametrize(
    "fields",
    [{}, {"criterion": "wanda"}, {"scope": "global"}, {"pattern": "2:4", "criterion": "wanda"}],
    ids=["magnitude", "wanda", "global", "wanda 2:4"],
)
def test_sparsity_grows_and_holds(llama: Model, tmp_path: Path, fields: dict[str, Any]) -> None:
    gradual = stage("prune.gradual", **STEPS, length=32, end=16, every=4, **fields)
    found, ctx = apply(gradual, llama, tmp_path / "pruned")
    weights = [tensor for name, tensor in tensors(found).items() if name.endswith("proj.weight")]
    zeros = sum(int((weight == 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights)
    assert zeros == pytest.approx(0.5, abs=0.01)
    assert ctx.records["sparsity_after_change"]


def test_a_run_goes_on_from_its_checkpoint(llama: Model, tmp_path: Path) -> None:
    """To what it would have come to, but for the order in which the GPU adds gradients up."""
    import torch

    gradual = stage("prune.gradual", **STEPS, length=32, end=16, every=4, criterion="wanda")
    whole, _ = apply(gradual, llama, tmp_path / "whole")
    killed = context(tmp_path / "killed", llama)

    def progress(done: int, total: int, what: str = "") -> None:
        if done == 14:
            raise KeyboardInterrupt

    killed.progress = progress  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        killed.apply(gradual, llama)
    assert [found.name for found in killed.checkpoint_dir.glob("step-*")] == ["step-0000010"]
    again = context(tmp_path / "again", llama)
    again.checkpoint_dir = killed.checkpoint_dir
    resumed = again.apply(gradual, llama)
    assert again.steps[0][0] == 11
    for name, tensor in tensors(whole).items():
        torch.testing.assert_close(tensors(resumed)[name], tensor, rtol=0.05, atol=2e-3)
