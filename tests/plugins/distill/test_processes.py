from __future__ import annotations

from pathlib import Path

import pytest

from modelwright.api.model import Model
from modelwright.errors import StageError
from modelwright_plugins.distill.embeddings import DistillEmbeddings
from tests.plugins.distill.texts import context
from tests.plugins.stored_weights import furthest

pytest.importorskip("accelerate", reason="needs accelerate")


def stage(**fields: object) -> DistillEmbeddings:
    usual = {"data": "docs", "layers": [1], "epochs": 1, "batch_size": 16, "learning_rate": 3e-3}
    return DistillEmbeddings.model_validate({**usual, "evaluate_every": 7, **fields})


def test_two_processes_train_the_model_that_one_does(tiny_checkpoint: Model, tmp_path: Path) -> None:
    alone, shared = (
        context(tmp_path / "alone", tiny_checkpoint),
        context(tmp_path / "shared", tiny_checkpoint),
    )
    one = alone.apply(stage(), tiny_checkpoint)
    (shared.checkpoint_dir / "step-0000001").mkdir()  # damaged: both start again
    two = shared.apply(stage(processes=2), tiny_checkpoint)
    assert furthest(one, two) < 1e-3
    untrained = context(tmp_path / "untrained", tiny_checkpoint).apply(
        stage(steps=1, learning_rate=1e-12), tiny_checkpoint
    )
    assert furthest(one, untrained) > 2e-2
    assert shared.records["loss"] == pytest.approx(alone.records["loss"], rel=1e-3)
    assert shared.records["held_out_loss"] == pytest.approx(alone.records["held_out_loss"], rel=1e-3)
    assert shared.records["teacher_outputs"] == alone.records["teacher_outputs"]
    assert shared.steps[-1][:2] == alone.steps[-1][:2]


def test_accelerate_launch_starts_what_its_file_says(tiny_checkpoint: Model, tmp_path: Path) -> None:
    file = tmp_path / "accelerate.yaml"
    file.write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: 'NO'\nmixed_precision: 'no'\n"
        "num_machines: 1\nnum_processes: 1\nuse_cpu: true\n"
    )
    launched = context(tmp_path / "launched", tiny_checkpoint).apply(
        stage(accelerate_config=str(file)), tiny_checkpoint
    )
    alone = context(tmp_path / "alone", tiny_checkpoint).apply(stage(), tiny_checkpoint)
    assert launched.digest == alone.digest


def test_a_loss_that_diverges_stops_every_process(tiny_checkpoint: Model, tmp_path: Path) -> None:
    diverging = stage(
        processes=2, learning_rate=1e30, warmup=0, clip=None, distance="mse", checkpoint_every=1
    )
    with pytest.raises(StageError, match=r"became (nan|inf) at step \d of \d+"):
        context(tmp_path / "run", tiny_checkpoint).apply(diverging, tiny_checkpoint)
