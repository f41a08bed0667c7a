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
from tests.plugins.tiny_bert import save_tiny_bert
from tests.plugins.tiny_llama import save_tiny_llama

pytest.importorskip("transformers", reason="needs the extra cpu")
CPU = Target(threads=2)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return save_tiny_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return save_tiny_bert(tmp_path_factory.mktemp("encoder"))


def selected(model: Model, folder: Path, **fields: object) -> tuple[Model, FolderContext]:
    ctx = FolderContext(folder, target=CPU)
    return ctx.apply(SelectAttention.model_validate(fields), model), ctx


def test_the_kernels_of_every_layer_are_counted(llama: Model, encoder: Model, tmp_path: Path) -> None:
    for name, model in {"llama": llama, "encoder": encoder}.items():
        result, ctx = selected(model, tmp_path / name, require="flash")
        assert ctx.records["attention"] == {
            "asked for": "sdpa",
            "used": "sdpa",
            "kernels": "flash in 2 layers",
            "kernels, padded": "flash in 2 layers",
        }
        assert result.spec.details["attention"] == "sdpa"


def test_the_choice_travels_with_the_model(llama: Model, tmp_path: Path) -> None:
    result, ctx = selected(llama, tmp_path, implementation="eager")
    assert ctx.records["attention"]["kernels"] == "eager in 2 layers"
    chosen, usual = (Torch().runner(model, CPU) for model in (result, llama))
    assert (chosen.describe()["attention"], usual.describe()["attention"]) == ("eager", "sdpa")
    assert isinstance(chosen, GenerationRunner)
    assert isinstance(usual, GenerationRunner)
    inputs = usual.sample(2, 24)
    np.testing.assert_allclose(chosen.logits(inputs), usual.logits(inputs), atol=1e-4)
    weights = [(model.path / "model.safetensors").read_bytes() for model in (result, llama)]
    assert weights[0] == weights[1]


def test_what_is_not_here_is_replaced_and_says_why(llama: Model, tmp_path: Path) -> None:
    result, ctx = selected(llama, tmp_path, implementation="flash_attention_2", require=None)
    record = ctx.records["attention"]
    assert (record["asked for"], record["used"]) == ("flash_attention_2", "sdpa")
    assert "flash_attention_2: " in record["replaced because"]
    assert "installed" in record["replaced because"]
    assert result.spec.details["attention"] == "sdpa"
    assert "sdpa in place of flash_attention_2" in Torch().runner(result, CPU).describe()["note"]


@pytest.mark.parametrize("require", ["flash", "fused"])
def test_what_never_has_such_kernels_is_refused_before(require: str, llama: Model) -> None:
    stage = SelectAttention.model_validate({"implementation": "eager", "require": require})
    with pytest.raises(RecipeError, match="eager is computed by the kernel eager") as refused:
        stage.check(llama.spec)
    assert refused.value.where == "parameter implementation"


def test_slower_kernels_than_are_required_fail_the_step(llama: Model, tmp_path: Path) -> None:
    import torch

    # Without its flash kernel PyTorch computes attention by products and softmax.
    with (
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
        pytest.raises(StageError, match="computed by math in 2 layers") as refused,
    ):
        selected(llama, tmp_path, require="fused")
    assert refused.value.where == "stages.trial.require"
    assert not list((tmp_path / "out").iterdir())


def test_flash_attentions_package_is_for_gpus() -> None:
    stage = SelectAttention(implementation="flash_attention_2", require="flash")
    with pytest.raises(RecipeError, match="runs on NVIDIA GPUs alone"):
        stage.check_target(CPU)
    stage.check_target(Target(device="cuda"))


def test_a_package_that_is_missing_where_the_model_is_run_is_named(llama: Model) -> None:
    details = {"attention": "flash_attention_2"}
    model = Model(llama.path, llama.spec.model_copy(update={"details": details}), llama.digest)
    with pytest.raises(MissingError, match="FlashAttention2"):
        Torch().runner(model, CPU)
