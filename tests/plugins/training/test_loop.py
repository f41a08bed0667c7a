from __future__ import annotations

import multiprocessing
import shutil
import signal
from pathlib import Path

import pytest

from modelwright.api.model import Model
from modelwright.errors import RecipeError, StageError

pytest.importorskip("accelerate", reason="needs accelerate")

import torch
from accelerate.state import AcceleratorState
from safetensors.torch import save_file

from tests.plugins.stored_weights import furthest, weights
from tests.plugins.training.next_token import NextToken, context, train_until_killed


@pytest.fixture(autouse=True)
def fresh_accelerator() -> None:
    """accelerate keeps the precision of the first Accelerator of a process."""
    AcceleratorState._reset_state(True)


def test_a_run_that_was_killed_resumes_to_the_same_weights(tiny_causal: Model, tmp_path: Path) -> None:
    stage = NextToken(dropout=True, accumulate=2)
    unbroken = context(tmp_path / "unbroken")
    expected = unbroken.apply(stage, tiny_causal)
    spawned = multiprocessing.get_context("spawn").Process(
        target=train_until_killed, args=(stage, tiny_causal, tmp_path / "killed", 13)
    )
    spawned.start()
    spawned.join()
    assert spawned.exitcode == -signal.SIGKILL
    resumed = context(tmp_path / "resumed", tmp_path / "killed" / "checkpoint")
    result = resumed.apply(stage, tiny_causal)
    assert resumed.steps[0][0] == 11  # the last checkpoint is of step 10
    assert result.digest == expected.digest
    assert resumed.records["loss"] == unbroken.records["loss"]
    assert resumed.records["held_out_loss"] == unbroken.records["held_out_loss"]


@pytest.mark.parametrize("damaged", ["tensors.safetensors", "history.json", "sha256.json", "best"])
def test_training_starts_again_where_its_checkpoint_was_damaged(
    damaged: str, tiny_causal: Model, tmp_path: Path
) -> None:
    stage = NextToken(steps=7, checkpoint_every=5)
    unbroken = context(tmp_path / "unbroken")
    expected = unbroken.apply(stage, tiny_causal)
    checkpoint = unbroken.checkpoint_dir / "step-0000005"
    if damaged == "best":
        shutil.rmtree(unbroken.checkpoint_dir / "best-0000004")
    else:
        content = bytearray((checkpoint / damaged).read_bytes())
        content[len(content) // 2] ^= 0x40
        (checkpoint / damaged).write_bytes(content)
    again = context(tmp_path / "again", unbroken.checkpoint_dir)
    assert again.apply(stage, tiny_causal).digest == expected.digest
    assert again.steps[0][0] == 1
    assert again.records["checkpoint_damaged"] == ("best-0000004" if damaged == "best" else checkpoint.name)


def test_it_learns_and_says_how_far_it_is(tiny_causal: Model, tmp_path: Path) -> None:
    ctx = context(tmp_path / "run")
    ctx.apply(NextToken(), tiny_causal)
    losses = ctx.records["held_out_loss"]
    assert isinstance(losses, list)
    assert losses[-1] < 0.7 * losses[0]  # type: ignore[operator]
    assert [done for done, _, _ in ctx.steps] == list(range(1, 25))
    assert ctx.steps[-1][1] == 24
    assert ctx.steps[-1][2].startswith("loss ")


def test_a_loss_that_becomes_infinite_stops_at_once_and_keeps_the_last_good_checkpoint(
    tiny_causal: Model, tmp_path: Path
) -> None:
    ctx = context(tmp_path / "run")
    stage = NextToken(learning_rate=1e25, warmup=0.9, clip=None, checkpoint_every=1)
    with pytest.raises(StageError, match=r"became (nan|inf) at step \d+ of 24") as caught:
        ctx.apply(stage, tiny_causal)
    step = int(str(caught.value).split(" at step ")[1].split()[0])
    kept = ctx.checkpoint_dir / f"step-{step - 1:07d}"
    assert str(kept) in str(caught.value.hint)
    assert kept.is_dir()
    assert len(ctx.steps) == step - 1
    assert "learning_rate" in str(caught.value)


def test_it_stops_when_held_out_loss_rises_and_keeps_the_best(tiny_causal: Model, tmp_path: Path) -> None:
    ctx = context(tmp_path / "run")
    stage = NextToken(learning_rate=0.2, warmup=0.5, evaluate_every=1, patience=3)
    result = ctx.apply(stage, tiny_causal)
    losses, training = ctx.records["held_out_loss"], ctx.records["training"]
    assert isinstance(losses, list)
    assert isinstance(training, dict)
    assert training["stopped_early"] is True
    assert training["steps"] == len(losses) < training["steps_planned"]  # type: ignore[operator]
    best = losses.index(min(losses)) + 1  # type: ignore[type-var]
    assert training["weights_of_step"] == best == len(losses) - 3
    shorter = NextToken(steps=best, learning_rate=0.2 * best / 12, warmup=0.99, evaluate_every=1, keep="last")
    # The same learning rates, for it is still rising.
    assert furthest(context(tmp_path / "shorter").apply(shorter, tiny_causal), result) < 1e-4


def test_pieces_of_a_batch_count_as_the_batch(tiny_causal: Model, tmp_path: Path) -> None:
    whole = context(tmp_path / "whole").apply(NextToken(), tiny_causal)
    pieces = context(tmp_path / "pieces").apply(NextToken(accumulate=4), tiny_causal)
    assert furthest(whole, pieces) < 1e-3
    assert furthest(whole, tiny_causal) > 1e-2


def test_gradient_checkpointing_changes_memory_and_not_the_result(tiny_causal: Model, tmp_path: Path) -> None:
    plain = context(tmp_path / "plain").apply(NextToken(), tiny_causal)
    saving = context(tmp_path / "saving").apply(NextToken(gradient_checkpointing=True), tiny_causal)
    assert furthest(plain, saving) < 1e-4


def test_bf16_is_for_activations_and_weights_stay_fp32(tiny_causal: Model, tmp_path: Path) -> None:
    full = context(tmp_path / "full").apply(NextToken(steps=6), tiny_causal)
    AcceleratorState._reset_state(True)
    half = context(tmp_path / "half").apply(NextToken(steps=6, precision="bf16"), tiny_causal)
    assert {tensor.dtype for tensor in weights(half).values()} == {torch.float32}
    assert 0 < furthest(full, half) < 0.05


def test_zeros_of_a_sparse_model_stay(tiny_causal: Model, tmp_path: Path) -> None:
    folder = tmp_path / "sparse"
    ctx = context(folder)
    found = weights(tiny_causal)
    name = "model.layers.1.mlp.up_proj.weight"
    found[name][:, ::2] = 0
    for file in tiny_causal.path.iterdir():
        (ctx.out / file.name).write_bytes(file.read_bytes())
    save_file(found, ctx.out / "model.safetensors", metadata={"format": "pt"})
    spec = tiny_causal.spec.model_copy(update={"tags": ("sparse",)})
    sparse = Model(ctx.out, spec, "unread")
    after = context(tmp_path / "run").apply(NextToken(), sparse)
    assert after.spec.tags == ("sparse",)
    assert not weights(after)[name][:, ::2].any()
    assert (weights(after)[name][:, 1::2] != found[name][:, 1::2]).any()


def test_frozen_weights_stay_and_a_pattern_must_match(tiny_causal: Model, tmp_path: Path) -> None:
    after = context(tmp_path / "run").apply(NextToken(freeze=("*embed_tokens*", "*layers.0.*")), tiny_causal)
    same = {
        name for name, tensor in weights(after).items() if torch.equal(tensor, weights(tiny_causal)[name])
    }
    assert same == {name for name in weights(after) if "embed_tokens" in name or "layers.0." in name}
    with pytest.raises(RecipeError, match="'\\*embedings\\*' matches no weight"):
        context(tmp_path / "typo").apply(NextToken(freeze=("*embedings*",)), tiny_causal)


def test_fewer_examples_than_a_batch_are_refused(tiny_causal: Model, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="64 examples to train on, fewer than one batch of 128"):
        context(tmp_path / "run").apply(NextToken(batch_size=128), tiny_causal)


def test_a_batch_must_be_shared_out_evenly() -> None:
    with pytest.raises(ValueError, match="batch_size 8 is no multiple of processes x accumulate, 3 x 1"):
        NextToken(processes=3)


def test_nothing_left_to_train_is_refused(tiny_causal: Model, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="nothing is left to train"):
        context(tmp_path / "run").apply(NextToken(freeze=("*",)), tiny_causal)


def test_a_file_for_accelerate_has_to_be_there_and_to_say_how_many(
    tiny_causal: Model, tmp_path: Path
) -> None:
    stage = NextToken(accelerate_config=str(tmp_path / "missing.yaml"))
    with pytest.raises(RecipeError, match=r"missing\.yaml cannot be read: No such file"):
        stage.check(tiny_causal.spec)
    with pytest.raises(ValueError, match="leave out processes"):
        NextToken(accelerate_config="accelerate.yaml", processes=2)
