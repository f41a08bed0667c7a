"""The attention that a checkpoint runs with, and the kernels behind it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelwright.api.model import Model
from modelwright.api.runner import GenerationRunner
from modelwright.api.target import Target
from modelwright.errors import MissingError, RecipeError, StageError
from modelwright_plugins.attention.select import SelectAttention
from modelwright_plugins.format.torch import Torch
from tests.plugins.stage_context import FolderContext

pytest.importorskip("transformers", reason="needs the extra cpu")
CPU = Target(threads=2)


def selected(model: Model, folder: Path, **fields: object) -> tuple[Model, FolderContext]:
    ctx = FolderContext(folder, target=CPU)
    return ctx.apply(SelectAttention.model_validate(fields), model), ctx


def test_the_kernels_of_every_layer_are_counted(
    tiny_causal: Model, tiny_checkpoint: Model, tmp_path: Path
) -> None:
    for name, model in {"tiny_causal": tiny_causal, "encoder": tiny_checkpoint}.items():
        result, ctx = selected(model, tmp_path / name, require="flash")
        assert ctx.records["attention"] == {
            "asked for": "sdpa",
            "used": "sdpa",
            "kernels": "flash in 2 layers",
            "kernels, padded": "flash in 2 layers",
        }
        assert result.spec.details["attention"] == "sdpa"


def test_the_choice_travels_with_the_model(tiny_causal: Model, tmp_path: Path) -> None:
    result, ctx = selected(tiny_causal, tmp_path, implementation="eager")
    assert ctx.records["attention"]["kernels"] == "eager in 2 layers"
    chosen, usual = (Torch().runner(model, CPU) for model in (result, tiny_causal))
    assert (chosen.describe()["attention"], usual.describe()["attention"]) == ("eager", "sdpa")
    assert isinstance(chosen, GenerationRunner)
    assert isinstance(usual, GenerationRunner)
    inputs = usual.sample(2, 24)
    np.testing.assert_allclose(chosen.logits(inputs), usual.logits(inputs), atol=1e-4)
    weights = [(model.path / "model.safetensors").read_bytes() for model in (result, tiny_causal)]
    assert weights[0] == weights[1]


def test_what_is_not_here_is_replaced_and_says_why(tiny_causal: Model, tmp_path: Path) -> None:
    result, ctx = selected(tiny_causal, tmp_path, implementation="flash_attention_2", require=None)
    record = ctx.records["attention"]
    assert (record["asked for"], record["used"]) == ("flash_attention_2", "sdpa")
    assert "flash_attention_2: " in record["replaced because"]
    assert "installed" in record["replaced because"]
    assert result.spec.details["attention"] == "sdpa"
    assert "sdpa in place of flash_attention_2" in Torch().runner(result, CPU).describe()["note"]


@pytest.mark.parametrize("require", ["flash", "fused"])
def test_what_never_has_such_kernels_is_refused_before(require: str, tiny_causal: Model) -> None:
    stage = SelectAttention.model_validate({"implementation": "eager", "require": require})
    with pytest.raises(RecipeError, match="eager is computed by the kernel eager") as refused:
        stage.check(tiny_causal.spec)
    assert refused.value.where == "parameter implementation"


def test_slower_kernels_than_are_required_fail_the_step(tiny_causal: Model, tmp_path: Path) -> None:
    import torch

    # Without its flash kernel PyTorch computes attention by products and softmax.
    with (
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
        pytest.raises(StageError, match="computed by math in 2 layers") as refused,
    ):
        selected(tiny_causal, tmp_path, require="fused")
    assert refused.value.where == "stages.trial.require"
    assert not list((tmp_path / "out").iterdir())


def test_flash_attentions_package_is_for_gpus() -> None:
    stage = SelectAttention(implementation="flash_attention_2", require="flash")
    with pytest.raises(RecipeError, match="runs on NVIDIA GPUs alone"):
        stage.check_target(CPU)
    stage.check_target(Target(device="cuda"))


def test_a_package_that_is_missing_where_the_model_is_run_is_named(tiny_causal: Model) -> None:
    details = {"attention": "flash_attention_2"}
    model = Model(
        tiny_causal.path, tiny_causal.spec.model_copy(update={"details": details}), tiny_causal.digest
    )
    with pytest.raises(MissingError, match="FlashAttention2"):
        Torch().runner(model, CPU)
