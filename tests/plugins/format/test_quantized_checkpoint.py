"""What is asked of a folder whose weights a library has quantized, and how it is measured."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from modelwright.api.metric import MetricContext
from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.errors import RecipeError
from modelwright.planning.source import find_format
from modelwright.registry import Registry
from modelwright_plugins.format.bitsandbytes import BitsAndBytes
from modelwright_plugins.format.quantized_checkpoint import QuantizedCheckpoint
from modelwright_plugins.format.torch import Torch
from modelwright_plugins.format.torchao import TorchAO
from modelwright_plugins.metric.memory import Memory
from modelwright_plugins.quantize.bitsandbytes import QuantizeBitsAndBytes
from modelwright_plugins.quantize.torchao import QuantizeTorchAO
from tests.plugins.stage_context import FolderContext
from tests.plugins.tiny_llama import change_json

pytest.importorskip("bitsandbytes", reason="needs the bitsandbytes extra")
pytest.importorskip("torchao", reason="needs the torchao extra")

ONE = Target(threads=1)
FORMS = [BitsAndBytes, TorchAO]


@pytest.fixture(scope="module")
def quantized(tiny_causal: Model, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """The tiny Llama in each format."""
    stages = {"bitsandbytes": QuantizeBitsAndBytes(), "torchao": QuantizeTorchAO()}
    return {
        name: FolderContext(tmp_path_factory.mktemp(name), target=ONE).apply(stage, tiny_causal)
        for name, stage in stages.items()
    }


def plain_copy(model: Model, folder: Path) -> Path:
    """The folder as another program would leave it: without modelwright.json."""
    shutil.copytree(model.path, folder)
    (folder / "modelwright.json").unlink()
    return folder


@pytest.mark.parametrize("form", FORMS)
def test_it_is_recognised_by_its_method(
    form: type[QuantizedCheckpoint], quantized: dict[str, Model], tiny_causal: Model
) -> None:
    assert [name for name, model in quantized.items() if form().recognises(model.path)] == [form.name]
    assert not form().recognises(tiny_causal.path)
    found = find_format(Registry.load(), tiny_causal.path, None, "model.format", "")
    assert found.name == "torch"


@pytest.mark.parametrize("name", ["bitsandbytes", "torchao"])
def test_it_is_no_input_of_a_recipe(name: str, quantized: dict[str, Model], tmp_path: Path) -> None:
    folder = plain_copy(quantized[name], tmp_path / "folder")
    form = find_format(Registry.load(), folder, None, "model.format", "")
    with pytest.raises(RecipeError, match="The checkpoint is quantized already"):
        form.describe(folder)


@pytest.mark.parametrize("form", FORMS)
def test_its_size_and_anatomy_are_those_of_the_model(
    form: type[QuantizedCheckpoint], quantized: dict[str, Model], tiny_causal: Model
) -> None:
    folder = quantized[form.name].path
    before = Torch().size(tiny_causal.path)
    after = form().size(folder)
    assert after.parameters == before.parameters
    header = 8 + int.from_bytes((folder / "model.safetensors").read_bytes()[:8], "little")
    assert after.weight_bytes == (folder / "model.safetensors").stat().st_size - header
    assert after.weight_bytes < before.weight_bytes
    anatomy = form().anatomy(folder)
    assert anatomy is not None
    assert anatomy.parameters == before.parameters


@pytest.mark.parametrize("form", FORMS)
def test_a_damaged_folder_is_refused(
    form: type[QuantizedCheckpoint], quantized: dict[str, Model], tiny_causal: Model, tmp_path: Path
) -> None:
    form().check(quantized[form.name].path, deep=True)
    with pytest.raises(RecipeError, match=r"The checkpoint is not quantized\.") as caught:
        form().check(tiny_causal.path)
    assert caught.value.accepted == form.quant_method
    other = next(model for name, model in quantized.items() if name != form.name)
    with pytest.raises(
        RecipeError, match=f"is not quantized by {form.quant_method}, but by {other.spec.format}"
    ):
        form().check(other.path)
    folder = plain_copy(quantized[form.name], tmp_path / "cut")
    with (folder / "model.safetensors").open("r+b") as stream:
        stream.truncate((folder / "model.safetensors").stat().st_size - 5)
    with pytest.raises(RecipeError, match="damaged or cut short"):
        form().check(folder)
    folder = plain_copy(quantized[form.name], tmp_path / "floats")
    shutil.copyfile(tiny_causal.path / "model.safetensors", folder / "model.safetensors")
    with pytest.raises(RecipeError, match="and none is") as caught:
        form().check(folder)
    assert "of different checkpoints" in str(caught.value.hint)
    change_json(folder / "config.json", quantization_config="int8")
    with pytest.raises(RecipeError, match=r"The checkpoint is not quantized\."):
        form().check(folder)


def test_scales_that_are_not_finite(quantized: dict[str, Model], tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = plain_copy(quantized["bitsandbytes"], tmp_path / "folder")
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight.absmax"][7] = np.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    BitsAndBytes().check(folder)
    with pytest.raises(
        RecipeError, match=r"1 values that are NaN or infinite, first in .*up_proj\.weight\.absmax"
    ):
        BitsAndBytes().check(folder, deep=True)


@pytest.mark.parametrize("form", FORMS)
def test_its_memory_is_measured_as_that_of_any_model(
    form: type[QuantizedCheckpoint], quantized: dict[str, Model], tiny_causal: Model
) -> None:
    metric = Memory(batch=1, length=16)
    seen = {}
    for kind, model in ((Torch(), tiny_causal), (form(), quantized[form.name])):
        context = MetricContext(ONE, 0, kind, {})
        seen[kind.name] = list(metric.observe(model, kind.runner(model, ONE), context))
    (value,) = metric.compare(seen["torch"], seen[form.name], 0)
    assert value.name == "memory.peak"
    assert value.candidate is not None
    assert value.candidate.value > 100 * 2**20
