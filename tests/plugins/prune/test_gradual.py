"""Pruning while training: the schedule is kept, zeros hold, and what stays has learnt to do without them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from modelwright.api.model import Model
from modelwright.errors import RecipeError
from modelwright.testing.texts import sentences
from modelwright_plugins.format.torch import load_checkpoint
from modelwright_plugins.prune.gradual import PruneGradual
from modelwright_plugins.prune.magnitude import PruneMagnitude
from modelwright_plugins.prune.sparsity_schedule import SparsitySchedule
from tests.plugins.stage_context import FolderContext

torch = pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("accelerate", reason="needs accelerate")

FIELDS: dict[str, Any] = {
    "data": "docs",
    "steps": 12,
    "end": 8,
    "every": 2,
    "batch_size": 8,
    "length": 32,
    "learning_rate": 1e-3,
    "evaluate_every": 4,
    "checkpoint_every": 5,
}
ENCODER = {key: value for key, value in FIELDS.items() if key != "length"}


def context(folder: Path, model: Model) -> FolderContext:
    data = {
        ("docs", split): [{"text": text} for text in sentences(80, seed=seed)]
        for seed, split in enumerate(("train", "validation"))
    }
    return FolderContext(folder, data=data, models={"teacher": model})


def pruned(model: Model, folder: Path, **fields: Any) -> tuple[Model, FolderContext]:
    ctx = context(folder, model)
    return ctx.apply(PruneGradual.model_validate({**FIELDS, **fields}), model), ctx


def weights(model: Model) -> dict[str, Any]:
    from safetensors.torch import load_file

    return {
        name: tensor
        for name, tensor in load_file(model.path / "model.safetensors").items()
        if tensor.ndim == 2 and "embed" not in name and "pooler" not in name
    }


def share(model: Model) -> float:
    found = weights(model).values()
    return sum(int((weight == 0).sum()) for weight in found) / sum(weight.numel() for weight in found)


def test_the_schedule_is_cubic_between_two_steps() -> None:
    schedule = SparsitySchedule(0.1, 0.5, begin=10, end=110, every=20, power=3)
    due = {step: schedule.due(step) for step in range(200) if schedule.due(step) is not None}
    assert [*due] == [10, 30, 50, 70, 90, 110]
    assert due[10] == pytest.approx(0.1)
    assert due[50] == pytest.approx(0.5 - 0.4 * 0.6**3)
    assert due[110] == 0.5
    at_once = SparsitySchedule(0.0, 0.5, begin=4, end=6, every=9, power=0)
    assert [at_once.due(step) for step in range(3, 8)] == [None, 0.5, None, 0.5, None]


@pytest.mark.parametrize(
    "fields",
    [{}, {"criterion": "wanda"}, {"scope": "global"}, {"power": 0.0, "begin": 1}],
    ids=["magnitude", "wanda", "global", "at once"],
)
def test_the_result_is_as_sparse_as_asked_for(
    fields: dict[str, Any], tiny_causal: Model, tmp_path: Path
) -> None:
    result, ctx = pruned(tiny_causal, tmp_path, sparsity=0.6, **fields)
    assert share(result) == pytest.approx(0.6, abs=0.01)
    assert result.spec.tags == ("sparse",)
    rising = ctx.records["sparsity_after_change"]
    assert rising == sorted(rising)
    assert rising[-1] == pytest.approx(0.6, abs=0.01)
    assert ctx.records["training"]["weights_of_step"] >= 8


def test_a_pattern_holds_in_every_group(tiny_causal: Model, tmp_path: Path) -> None:
    result, _ = pruned(tiny_causal, tmp_path, pattern="2:4")
    for weight in weights(result).values():
        assert ((weight.reshape(-1, 4) == 0).sum(1) == 2).all()
    assert result.spec.tags == ("sparse", "sparse-2:4")


def test_an_encoder_learns_from_its_embeddings(tiny_checkpoint: Model, tmp_path: Path) -> None:
    ctx = context(tmp_path, tiny_checkpoint)
    result = ctx.apply(PruneGradual.model_validate({**ENCODER, "sparsity": 0.4}), tiny_checkpoint)
    layers = {name: weight for name, weight in weights(result).items() if "encoder.layer" in name}
    assert len(layers) == 12
    assert all(
        float((weight == 0).float().mean()) == pytest.approx(0.4, abs=0.01) for weight in layers.values()
    )


def test_it_ends_nearer_to_the_text_than_pruning_at_once(tiny_causal: Model, tmp_path: Path) -> None:
    from modelwright.api.target import Target
    from modelwright_plugins.format.torch import Torch
    from modelwright_plugins.text.calibration import token_windows

    result, ctx = pruned(tiny_causal, tmp_path / "gradual", sparsity=0.6, steps=30, end=20, alpha=0.0)
    once = FolderContext(tmp_path / "once").apply(PruneMagnitude(sparsity=0.6), tiny_causal)
    held_out = token_windows(tiny_causal, ctx, "docs", "validation", 8, 32)
    losses = [
        sum(float(Torch().runner(model, Target(threads=1)).loss(window).mean()) for window in held_out)
        for model in (result, once)
    ]
    assert losses[0] < losses[1]


@pytest.mark.parametrize(
    ("killed", "fields"),
    [
        (7, {"criterion": "wanda"}),
        (11, {"criterion": "wanda"}),
        (7, {"freeze": ["*.layers.0.*"]}),
        (12, {"freeze": ["*.layers.0.*"], "checkpoint_every": 4}),
    ],
    ids=["wanda", "wanda, all gone", "frozen", "frozen, at the end"],
)
def test_a_killed_run_ends_as_an_unbroken_one(
    killed: int, fields: dict[str, Any], tiny_causal: Model, tmp_path: Path
) -> None:
    whole, _ = pruned(tiny_causal, tmp_path / "whole", **fields)
    ctx = context(tmp_path / "broken", tiny_causal)

    def progress(done: int, total: int, what: str = "") -> None:
        if done == killed:
            raise KeyboardInterrupt

    ctx.progress = progress  # type: ignore[method-assign]
    stage = PruneGradual.model_validate({**FIELDS, **fields})
    with pytest.raises(KeyboardInterrupt):
        ctx.apply(stage, tiny_causal)
    again = context(tmp_path / "again", tiny_causal)
    again.checkpoint_dir = ctx.checkpoint_dir
    resumed = again.apply(stage, tiny_causal)
    assert (resumed.path / "model.safetensors").read_bytes() == (
        whole.path / "model.safetensors"
    ).read_bytes()


def test_two_processes_zero_the_weights_that_one_does(tiny_causal: Model, tmp_path: Path) -> None:
    one, alone = pruned(tiny_causal, tmp_path / "one", criterion="wanda")
    two, shared = pruned(tiny_causal, tmp_path / "two", criterion="wanda", processes=2)
    assert shared.records["sparsity_after_change"] == alone.records["sparsity_after_change"]
    for name, tensor in weights(one).items():
        assert float(((tensor == 0) == (weights(two)[name] == 0)).float().mean()) > 0.999


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sparsity": 1.5}, "less than 1"),
        ({"begin": 8}, "begin 8 is not before end 8"),
        ({"end": 50}, "end 50 is after the last of 12 steps"),
        ({"initial": 0.7, "sparsity": 0.5}, "initial 0.7 is more than the sparsity to reach, 0.5"),
        ({"pattern": "2:4", "scope": "global"}, "scope has to be layer"),
        ({"pattern": "2:4", "sparsity": 0.3}, "sets 2 of 4 weights to zero"),
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        PruneGradual.model_validate({**FIELDS, **fields})


def test_a_schedule_beyond_the_training_is_refused(tiny_causal: Model, tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"The schedule ends at step 500, and training takes \d+\."
    ) as refused:
        pruned(tiny_causal, tmp_path, end=500, steps=None, epochs=1)
    assert refused.value.where == "stages.trial.end"


def test_a_pattern_that_matches_no_layer_is_refused_before_training(
    tiny_causal: Model, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match="'lm_haed' matches no layer"):
        pruned(tiny_causal, tmp_path, include=["lm_haed"])


def test_weights_that_go_at_once_are_gone_before_the_first_step(tiny_causal: Model, tmp_path: Path) -> None:
    from modelwright_plugins.prune.growing_masks import GrowingMasks

    _, ctx = pruned(tiny_causal, tmp_path / "at once", power=0.0, every=100)
    assert ctx.records["sparsity_after_change"] == pytest.approx([0.5, 0.5], abs=0.01)
    network = load_checkpoint(tiny_causal)
    schedule = SparsitySchedule(0.3, 0.5, begin=0, end=8, every=2, power=3)
    matrices = PruneGradual.model_validate(FIELDS).matrices(network)
    hook = GrowingMasks(network, matrices, schedule, scope="layer", activations=False, pattern=None)
    hook.after_step(0)
    zeros = [float((matrix.weight == 0).float().mean()) for matrix in matrices]
    assert zeros == pytest.approx([0.3] * len(zeros), abs=0.01)
    _, ctx = pruned(tiny_causal, tmp_path / "from 0.3", initial=0.3)
    assert ctx.records["sparsity_after_change"][0] == pytest.approx(0.3, abs=0.01)  # type: ignore[index,call-overload]
    with pytest.raises(ValidationError, match="begin has to be 1 or more"):
        PruneGradual.model_validate({**FIELDS, "criterion": "wanda", "initial": 0.3})


def test_an_encoder_has_no_logits_to_weigh(tiny_checkpoint: Model) -> None:
    stage = PruneGradual.model_validate({**ENCODER, "alpha": 0.7})
    with pytest.raises(RecipeError, match="alpha is of models that predict logits"):
        stage.check(tiny_checkpoint.spec)


def test_padding_does_not_count_as_input(tiny_checkpoint: Model) -> None:
    """What a batch is padded to does not decide which weights go."""
    from modelwright_plugins.training.example import Example
    from modelwright_plugins.training.padded import padded

    examples = [Example(tuple(range(5, 5 + length)), length, "train") for length in (24, 3, 4)]
    from modelwright_plugins.prune.growing_masks import GrowingMasks

    masks = []
    for batches in ([examples], [[example] for example in examples]):
        network = load_checkpoint(tiny_checkpoint).train()
        schedule = SparsitySchedule(0.0, 0.5, begin=1, end=2, every=1, power=0)
        matrices = PruneGradual.model_validate(ENCODER).matrices(network)
        hook = GrowingMasks(network, matrices, schedule, scope="layer", activations=True, pattern=None)
        for module in network.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        with torch.no_grad():
            for batch in batches:
                network(**padded(batch, network))
        hook.after_step(1)
        masks.append({name: mask for name, mask in hook.state_dict().items() if name.startswith("mask.")})
    for name, mask in masks[0].items():
        assert float((mask == masks[1][name]).float().mean()) > 0.999
