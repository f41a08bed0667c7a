"""Zeros in single weights: how many, where, and what they cost by each criterion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

import modelwright_conf
from modelwright.api.model import Model
from modelwright.api.stage import Stage
from modelwright.errors import RecipeError
from modelwright.testing.texts import sentences
from modelwright_plugins.prune.lowest import kth_smallest
from modelwright_plugins.prune.magnitude import PruneMagnitude
from modelwright_plugins.prune.pattern import lowest_of_groups
from modelwright_plugins.prune.sparsegpt import PruneSparseGPT
from modelwright_plugins.prune.wanda import PruneWanda
from tests.plugins.blockwise.networks import save_tiny_gpt2
from tests.plugins.stage_context import FolderContext
from tests.plugins.stored_weights import weights
from tests.plugins.tiny_llama import open_checkpoint, save_tiny_llama

torch = pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("transformers", reason="needs transformers")

CALIBRATED = {"data": "docs", "samples": 8, "length": 48}
ONE_SHOT: list[tuple[type[Stage], dict[str, Any]]] = [
    (PruneMagnitude, {}),
    (PruneMagnitude, {"scope": "global"}),
    (PruneWanda, CALIBRATED),
    (PruneSparseGPT, CALIBRATED),
]
IDS = ["magnitude", "global", "wanda", "sparsegpt"]


def context(folder: Path) -> FolderContext:
    texts = [{"text": text} for text in sentences(60, seed=3)]
    return FolderContext(folder, data={("docs", "calibration"): texts})


def pruned(stage: Stage, model: Model, folder: Path) -> tuple[Model, FolderContext]:
    ctx = context(folder)
    return ctx.apply(stage, model), ctx


def changed(before: Model, after: Model) -> set[str]:
    old, new = weights(before), weights(after)
    assert old.keys() == new.keys()
    return {name for name in old if not torch.equal(old[name], new[name])}


@pytest.mark.parametrize(("cls", "fields"), ONE_SHOT, ids=IDS)
@pytest.mark.parametrize("share", [0.3, 0.5])
def test_the_share_of_zeros_is_what_was_asked_for(
    cls: type[Stage], fields: dict[str, Any], share: float, tiny_causal: Model, tmp_path: Path
) -> None:
    result, ctx = pruned(cls.model_validate({**fields, "sparsity": share}), tiny_causal, tmp_path)
    touched = changed(tiny_causal, result)
    assert len(touched) == 14
    assert all("proj" in name for name in touched)
    found = torch.cat([weights(result)[name].flatten() for name in touched])
    assert float((found == 0).float().mean()) == pytest.approx(share, abs=0.01)
    assert ctx.records["sparsity"]["of_pruned_layers"] == pytest.approx(share, abs=0.01)
    assert result.spec.tags == ("sparse",)
    shares = [row["sparsity"] for row in ctx.records["layers"]]
    if fields.get("scope") == "global":
        assert max(shares) - min(shares) > 0.01
    else:
        assert shares == pytest.approx([share] * 14, abs=0.01)


@pytest.mark.parametrize(("cls", "fields"), [ONE_SHOT[0], *ONE_SHOT[2:]], ids=[IDS[0], *IDS[2:]])
@pytest.mark.parametrize("pattern", ["2:4", "1:4", "4:8"])
def test_a_pattern_holds_in_every_group(
    cls: type[Stage], fields: dict[str, Any], pattern: str, tiny_causal: Model, tmp_path: Path
) -> None:
    result, _ = pruned(cls.model_validate({**fields, "pattern": pattern}), tiny_causal, tmp_path)
    kept, of = map(int, pattern.split(":"))
    for name in changed(tiny_causal, result):
        groups = weights(result)[name].reshape(-1, of)
        assert ((groups != 0).sum(1) == kept).all()
    assert result.spec.tags == ("sparse", f"sparse-{pattern}")


def test_magnitude_keeps_the_largest_as_they_are(tiny_causal: Model, tmp_path: Path) -> None:
    result, _ = pruned(PruneMagnitude(sparsity=0.5), tiny_causal, tmp_path)
    for name in changed(tiny_causal, result):
        before, after = weights(tiny_causal)[name], weights(result)[name]
        gone = after == 0
        assert torch.equal(before[~gone], after[~gone])
        assert before[gone].abs().max() <= before[~gone].abs().min()


def test_wanda_judges_by_input_and_row_by_row(tiny_causal: Model, tmp_path: Path) -> None:
    result, _ = pruned(PruneWanda(**CALIBRATED, sparsity=0.5), tiny_causal, tmp_path)
    name = "model.layers.0.self_attn.o_proj.weight"
    before, after = weights(tiny_causal)[name], weights(result)[name]
    assert ((after == 0).sum(1) == 32).all()
    gone = after == 0
    assert torch.equal(before[~gone], after[~gone])
    # By magnitude alone other weights would go.
    assert (before.abs()[gone]).max() > before.abs()[~gone].min()


def test_a_trained_model_loses_least_where_the_others_make_up_for_what_goes(tmp_path: Path) -> None:
    from modelwright.api.target import Target
    from modelwright_plugins.dataset.python_docs import PythonDocs
    from modelwright_plugins.format.torch import Torch
    from modelwright_plugins.text.calibration import token_windows

    model = open_checkpoint(Path(modelwright_conf.__file__).parent / "reference_lm")
    docs = PythonDocs(form="text")
    splits = {("docs", split): docs.load(split) for split in ("calibration", "validation")}
    fields = {"data": "docs", "samples": 32, "length": 256}
    held_out = token_windows(
        model, FolderContext(tmp_path / "ctx", data=splits), "docs", "validation", 16, 256
    )

    def loss(stage: Stage, name: str) -> float:
        result = FolderContext(tmp_path / name, data=splits).apply(stage, model)
        runner = Torch().runner(result, Target(threads=1))
        return float(np.mean([runner.loss(window) for window in held_out]))

    magnitude = loss(PruneMagnitude(sparsity=0.5), "magnitude")
    wanda = loss(PruneWanda.model_validate(fields), "wanda")
    sparsegpt = loss(PruneSparseGPT.model_validate(fields), "sparsegpt")
    assert magnitude > wanda + 0.02
    assert wanda > sparsegpt


def test_tiles_go_as_one(tiny_causal: Model, tmp_path: Path) -> None:
    stage = PruneMagnitude.model_validate({"sparsity": 0.25, "block": [4, 2], "norm": "l2"})
    result, _ = pruned(stage, tiny_causal, tmp_path)
    for name in changed(tiny_causal, result):
        weight = weights(result)[name]
        rows, columns = weight.shape
        zeros = (weight == 0).reshape(rows // 4, 4, columns // 2, 2).float().mean((1, 3))
        assert set(zeros.unique().tolist()) == {0.0, 1.0}
        assert float(zeros.mean()) == pytest.approx(0.25, abs=0.01)


def test_norms_judge_tiles_differently() -> None:
    spiky, even = torch.tensor([[3.0, 0.0]]), torch.tensor([[2.0, 2.0]])
    stages = [PruneMagnitude.model_validate({"block": [1, 2], "norm": norm}) for norm in ("l1", "l2")]
    by_norm = [[float(stage._scores(tile)) for tile in (spiky, even)] for stage in stages]
    assert by_norm[0] == [1.5, 2.0]
    assert by_norm[1] == pytest.approx([4.5**0.5, 2.0])


def test_layers_are_chosen_by_name(tiny_causal: Model, tmp_path: Path) -> None:
    stage = PruneMagnitude(include=("*.mlp.*",), exclude=("*.0.*",))
    result, ctx = pruned(stage, tiny_causal, tmp_path)
    expected = {f"model.layers.1.mlp.{kind}_proj.weight" for kind in ("gate", "up", "down")}
    assert changed(tiny_causal, result) == expected
    assert ctx.records["sparsity"]["of_all_parameters"] < 0.25


def test_a_head_is_pruned_only_when_it_is_named(tmp_path: Path) -> None:
    model = save_tiny_llama(tmp_path / "model", head=True)
    result, _ = pruned(PruneMagnitude(), model, tmp_path / "all")
    assert "lm_head.weight" not in changed(model, result)
    named, _ = pruned(PruneMagnitude(include=("lm_head",)), model, tmp_path / "head")
    assert changed(model, named) == {"lm_head.weight"}


@pytest.mark.parametrize(("cls", "fields"), ONE_SHOT, ids=IDS)
def test_zeros_that_are_there_stay_and_count(
    cls: type[Stage], fields: dict[str, Any], tiny_causal: Model, tmp_path: Path
) -> None:
    once, _ = pruned(PruneMagnitude(pattern="2:4"), tiny_causal, tmp_path / "once")
    twice, _ = pruned(cls.model_validate({**fields, "sparsity": 0.6}), once, tmp_path / "twice")
    found = weights(twice)
    for name, weight in weights(once).items():
        if "proj" in name:
            assert (found[name][weight == 0] == 0).all()
            assert fields.get("scope") or float((found[name] == 0).float().mean()) == pytest.approx(
                0.6, abs=0.01
            )
    assert twice.spec.tags == ("sparse", "sparse-2:4")


@pytest.mark.parametrize(("cls", "fields"), ONE_SHOT, ids=IDS)
def test_an_encoder_in_half_precision_keeps_its_type(
    cls: type[Stage], fields: dict[str, Any], tiny_checkpoint: Model, tmp_path: Path
) -> None:
    from modelwright_plugins.cast.dtype import CastDtype

    half = FolderContext(tmp_path / "half").apply(CastDtype(dtype="bf16"), tiny_checkpoint)
    result, _ = pruned(cls.model_validate(fields), half, tmp_path / "pruned")
    assert {weight.dtype for weight in weights(result).values()} == {torch.bfloat16}
    touched = changed(half, result)
    assert len(touched) == 12
    assert all("encoder.layer" in name for name in touched)


@pytest.mark.parametrize(("cls", "fields"), ONE_SHOT, ids=IDS)
def test_the_same_bytes_again(
    cls: type[Stage], fields: dict[str, Any], tiny_causal: Model, tmp_path: Path
) -> None:
    results = [pruned(cls.model_validate(fields), tiny_causal, tmp_path / name)[0] for name in ("a", "b")]
    assert results[0].digest == results[1].digest


def test_the_threshold_is_exact() -> None:
    generator = torch.Generator().manual_seed(0)
    parts = [torch.rand(1000, generator=generator) for _ in range(3)] + [torch.full((50,), 0.25)]
    every = torch.cat(parts).sort().values
    for k in (1, 2, 700, 800, 1525, 3050):
        value, below = kth_smallest(lambda: parts, k)
        assert value == float(every[k - 1])
        assert below == int((every < value).sum())


def test_of_equal_scores_the_first_go() -> None:
    assert lowest_of_groups(torch.ones(1, 4), "2:4").tolist() == [[True, True, False, False]]


def test_yaml_reads_a_pattern_as_a_time() -> None:
    import yaml

    written = yaml.safe_load("pattern: 2:4")
    assert written == {"pattern": 124}
    assert PruneMagnitude.model_validate(written).pattern == "2:4"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sparsity": 1.5}, "less than 1"),
        ({"sparsity": 0}, "greater than 0"),
        ({"pattern": "4:2"}, "a pattern is n:m, such as 2:4"),
        ({"pattern": "half"}, "a pattern is n:m, such as 2:4"),
        ({"pattern": "2:4", "sparsity": 0.7}, "sets 2 of 4 weights to zero"),
        ({"pattern": "2:4", "scope": "global"}, "leave out scope, block and norm"),
        ({"block": [0, 1]}, "greater than 0"),
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        PruneMagnitude.model_validate(fields)


def test_a_pattern_that_matches_no_layer_is_refused(tiny_causal: Model, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"'\*\.q_prj' matches no layer") as refused:
        pruned(PruneMagnitude(include=("*.q_prj",)), tiny_causal, tmp_path)
    assert refused.value.where == "stages.trial.include"


def test_groups_that_do_not_fit_are_refused(tiny_causal: Model, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"64 inputs of '.*0\.self_attn\.q_proj' are no multiple of 12"):
        pruned(PruneMagnitude(pattern="6:12"), tiny_causal, tmp_path / "pattern")
    with pytest.raises(RecipeError, match="no whole number of tiles of 3 x 1"):
        pruned(PruneMagnitude(block=(3, 1)), tiny_causal, tmp_path / "block")


@pytest.mark.parametrize("cls", [PruneWanda, PruneSparseGPT])
def test_an_empty_calibration_set_is_refused(cls: type[Stage], tiny_causal: Model, tmp_path: Path) -> None:
    ctx = FolderContext(tmp_path, data={("docs", "calibration"): []})
    with pytest.raises(RecipeError, match="The calibration split of 'docs' has no text"):
        ctx.apply(cls.model_validate(CALIBRATED), tiny_causal)


def test_weights_of_inputs_that_never_occurred_go_first(tmp_path: Path) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(256, 16)
    inputs[:, :8] = 0.0
    weight = torch.randn(6, 16)
    weight[:, :8] *= 10
    stage = PruneSparseGPT(data="docs", sparsity=0.5)
    pruned = weight.clone()
    error = stage.prune(pruned, inputs.T @ inputs / 256, FolderContext(tmp_path / "run"))
    assert not pruned[:, :8].any()
    torch.testing.assert_close(pruned[:, 8:], weight[:, 8:])
    assert error == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("cls", "fields"), ONE_SHOT, ids=IDS)
@pytest.mark.parametrize("target", [{"sparsity": 0.4}, {"pattern": "2:4"}], ids=["share", "pattern"])
def test_transposed_weights_are_pruned_too(
    cls: type[Stage], fields: dict[str, Any], target: dict[str, Any], tmp_path: Path
) -> None:
    """GPT-2 keeps its matrices as [inputs, outputs]."""
    if fields.get("scope") == "global" and "pattern" in target:
        return
    model = save_tiny_gpt2(tmp_path / "model")
    found = weights(pruned(cls.model_validate({**fields, **target}), model, tmp_path / "run")[0])
    matrices = [tensor for name, tensor in found.items() if ".h." in name and tensor.ndim == 2]
    assert len(matrices) == 8
    zeros = sum(int((tensor == 0).sum()) for tensor in matrices) / sum(map(torch.numel, matrices))
    assert zeros == pytest.approx(0.4 if "sparsity" in target else 0.5, abs=0.02)
    if "pattern" in target:
        assert all(((tensor.T.reshape(-1, 4) == 0).sum(1) >= 2).all() for tensor in matrices)
