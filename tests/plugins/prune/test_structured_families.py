"""What is cut of each family, against the dense model without the units that went."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelwright.api.model import Model, ModelSize
from modelwright.testing.texts import sentences
from modelwright_plugins.anatomy.read import read_anatomy
from modelwright_plugins.format.torch import Torch, load_checkpoint
from modelwright_plugins.prune.slicing.families import FAMILIES
from modelwright_plugins.prune.structured import PruneStructured
from tests.plugins.prune.families import (
    DECODERS,
    ENCODERS,
    GROUPED,
    HEAD_DIM,
    HEADS,
    KEYS,
    LAYERS,
    NEURONS,
    TIED_WIDTH,
    WIDTH,
    outputs,
    save_family,
    scaled,
    units,
)
from tests.plugins.stage_context import FolderContext

torch = pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("transformers", reason="needs transformers")

DOCS: Any = {("docs", "calibration"): [{"text": text} for text in sentences(40, seed=3)]}
CALIBRATED = {"data": "docs", "samples": 4, "length": 24}


def pruned(model: Model, folder: Path, **fields: Any) -> tuple[Model, FolderContext]:
    ctx = FolderContext(folder, data=DOCS)
    return ctx.apply(PruneStructured.model_validate({**CALIBRATED, **fields}), model), ctx


def removed(ctx: FolderContext, of: str) -> list[list[int]]:
    """The units that the report says went, by layer."""
    rows: Any = ctx.records["importance"]
    return [[int(unit) for unit in row["removed"].split()] for row in rows if row["of"] == of]


def without(model: Model, family: str, ctx: FolderContext) -> Any:
    """The dense network with what reads the removed heads and neurons set to zero there."""
    network = load_checkpoint(model)
    known = FAMILIES[family]
    for name, module in network.named_modules():
        layer, inside = known.place(name) or (None, "")
        readers = {known.attention_output: ("heads", HEAD_DIM), known.mlp_output: ("neurons", 1)}
        if layer is not None and inside in readers:
            of, unit = readers[inside]
            weight = module.weight.data.T if known.transposed else module.weight.data
            for number in (removed(ctx, of) or [[]] * LAYERS)[layer]:
                weight[:, number * unit : (number + 1) * unit] = 0
    return network


def config(model: Model) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((model.path / "config.json").read_text("utf-8"))
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_neurons_that_went_are_all_that_is_missing(family: str, tmp_path: Path) -> None:
    model = save_family(family, tmp_path / "model")
    result, ctx = pruned(model, tmp_path / "pruned", neurons=0.3, importance="magnitude")
    assert [len(gone) for gone in removed(ctx, "neurons")] == [8] * LAYERS
    assert config(result)[FAMILIES[family].inner] == NEURONS - 8
    np.testing.assert_allclose(outputs(result.path), outputs(without(model, family, ctx)), atol=2e-5)
    assert not np.allclose(outputs(result.path), outputs(model.path), atol=1e-2)


@pytest.mark.parametrize("gqa", ["groups", "queries"])
@pytest.mark.parametrize("family", GROUPED)
def test_heads_that_went_are_all_that_is_missing(family: str, gqa: str, tmp_path: Path) -> None:
    model = save_family(family, tmp_path / "model")
    result, ctx = pruned(model, tmp_path / "pruned", heads=2, gqa=gqa)
    gone = removed(ctx, "heads")
    group = HEADS // KEYS
    for layer in gone:
        # A group whole, or one head of each.
        assert {head // group for head in layer} == ({layer[0] // group} if gqa == "groups" else {0, 1})
    written = config(result)
    assert written["num_attention_heads"] == 2
    assert written["num_key_value_heads"] == (1 if gqa == "groups" else 2)
    assert written["head_dim"] == HEAD_DIM
    np.testing.assert_allclose(outputs(result.path), outputs(without(model, family, ctx)), atol=2e-5)


def dead(network: Any, family: str) -> None:
    """Make every fourth channel, and in families whose heads go with them a head, nothing but zeros.

    A layer norm also subtracts the mean, which is left alone where it is zero before and after.
    """
    known = FAMILIES[family]
    channels = [*range(1, WIDTH, 4)]
    live = [channel for channel in range(WIDTH) if channel not in channels]
    for name, parameter in network.named_parameters():
        dimensions = known.dimensions(name, parameter.dim())
        norm = dimensions == known.block[next(key for key, axes in known.block.items() if len(axes) == 1)]
        if norm and name.endswith("weight"):
            parameter.fill_(1.3)
        elif family in TIED_WIDTH and dimensions is not None and parameter.dim():
            inside = known.layer_of(name) is not None
            side = len(dimensions) - 1 if (not inside or known.transposed) else 0
            if dimensions[side] == known.block[known.mlp_output][0]:
                part = parameter.index_select(side, torch.tensor(live))
                parameter.sub_(part.mean(side, keepdim=True))
    units(network, family, "width", channels, scaled(0))
    if family in TIED_WIDTH:
        for kind in ("queries", "keys"):
            units(network, family, kind, [2], scaled(0))


@pytest.mark.parametrize("family", FAMILIES)
def test_channels_of_zeros_are_found_and_change_nothing(family: str, tmp_path: Path) -> None:
    model = save_family(family, tmp_path / "model", lambda network: dead(network, family))
    result, ctx = pruned(model, tmp_path / "pruned", width=0.25)
    live = [channel for channel in range(WIDTH) if channel % 4 != 1]
    assert removed(ctx, "width") == [[*range(1, WIDTH, 4)]]
    before, after = outputs(model.path), outputs(result.path)
    np.testing.assert_allclose(after, before[..., live] if family in ENCODERS else before, atol=2e-3)
    assert np.abs(before).max() > 0.5
    written = config(result)
    assert written.get("hidden_size", written.get("n_embd", written.get("dim"))) == 24
    if family in ENCODERS:
        pooling = json.loads((result.path / "1_Pooling" / "config.json").read_text("utf-8"))
        assert pooling["word_embedding_dimension"] == 24


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prediction_before_any_weight_is_read_comes_true(family: str, tmp_path: Path) -> None:
    model = save_family(family, tmp_path / "model")
    anatomy = Torch().anatomy(model.path)
    size = Torch().size(model.path).model_copy(update={"anatomy": anatomy})
    fields: dict[str, Any] = {"width": 0.25, "neurons": 8, "layers": 1}
    if family in GROUPED:
        fields["heads"] = 0.5
    result, ctx = pruned(model, tmp_path / "pruned", **fields)
    predicted = PruneStructured.model_validate({**CALIBRATED, **fields}).footprint(size).result
    found = Torch().size(result.path)
    assert predicted == ModelSize(
        parameters=found.parameters, weight_bytes=found.weight_bytes, anatomy=predicted.anatomy
    )
    read, made = read_anatomy(result.path), predicted.anatomy
    assert read is not None
    assert made is not None
    assert read.shape == made.shape
    assert read.modules == made.modules
    if family != "qwen3":  # of its layers one is windowed, and which stay is not known before
        assert read.caches == made.caches
    counted: Any = ctx.records["parameters"]
    assert counted["after"] == found.parameters


@pytest.fixture(scope="module")
def cut_everywhere(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """Each family with less of everything that it can lose."""
    results = {}
    for family in FAMILIES:
        folder = tmp_path_factory.mktemp(family)
        model = save_family(family, folder / "model")
        fields: dict[str, Any] = {"neurons": 8, "layers": 1}
        fields |= {"heads": 2} if family in GROUPED else {"width": 0.25}
        results[family], _ = pruned(model, folder / "pruned", **fields)
    return results


LOADS = """
import json, sys
sys.modules["modelwright"] = sys.modules["modelwright_plugins"] = None  # importing either fails
import torch, transformers
found = {}
for auto, folder in json.loads(sys.argv[1]):
    network = getattr(transformers, auto).from_pretrained(folder).eval()
    with torch.inference_mode():
        found[folder] = network(input_ids=torch.arange(5, 29).reshape(2, 12))[0].tolist()
    if auto == "AutoModelForCausalLM":
        network.generate(torch.arange(5, 11)[None], max_new_tokens=4, min_new_tokens=4, do_sample=False)
print(json.dumps(found))
"""


def test_results_load_where_modelwright_is_not(cut_everywhere: dict[str, Model]) -> None:
    autos = {"embed": "AutoModel", "generate": "AutoModelForCausalLM"}
    asked = [[autos[model.spec.task], str(model.path)] for model in cut_everywhere.values()]
    done = subprocess.run(
        [sys.executable, "-c", LOADS, json.dumps(asked)], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    for model in cut_everywhere.values():
        np.testing.assert_allclose(np.array(found[str(model.path)]), outputs(model.path), atol=1e-5)


@pytest.mark.parametrize("family", DECODERS)
def test_a_cache_is_as_large_as_the_result_says(family: str, cut_everywhere: dict[str, Model]) -> None:
    spec = cut_everywhere[family].spec
    keys = 1 if family in GROUPED else 3
    assert spec.generation is not None
    assert spec.generation.cache_elements == 2 * (LAYERS - 1) * keys * HEAD_DIM


def test_a_layer_keeps_its_kind_of_attention(cut_everywhere: dict[str, Model]) -> None:
    written = config(cut_everywhere["qwen3"])
    assert written["num_hidden_layers"] == len(written["layer_types"]) == 2


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "llama", "gpt2"])
def test_a_classifier_keeps_its_labels(family: str, tmp_path: Path) -> None:
    model = save_family(family, tmp_path / "model", classify=True, num_labels=3, pad_token_id=0)
    result, ctx = pruned(model, tmp_path / "pruned", neurons=0.3, importance="taylor")
    assert result.spec.labels == model.spec.labels
    np.testing.assert_allclose(outputs(result.path), outputs(without(model, family, ctx)), atol=2e-5)
