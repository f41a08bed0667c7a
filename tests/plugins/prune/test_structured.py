"""How much goes, which units, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from modelwright.api.model import Model
from modelwright.cli.main import run_command
from modelwright.errors import RecipeError, StageError
from modelwright.testing.texts import LABELS, sentences
from modelwright_plugins.anatomy.read import read_anatomy
from modelwright_plugins.format.torch import Torch, load_checkpoint
from modelwright_plugins.prune.latency_budget import least_step
from modelwright_plugins.prune.slicing.families import FAMILIES
from modelwright_plugins.prune.structured import PruneStructured
from tests.plugins.prune.families import HEAD_DIM, LAYERS, NEURONS, outputs, save_family, scaled, units
from tests.plugins.stage_context import FolderContext
from tests.plugins.tiny_llama import open_checkpoint

torch = pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("transformers", reason="needs transformers")

TEXTS = sentences(40, seed=3)
DOCS: Any = {
    ("docs", "calibration"): [
        {"text": text, "query": text, "passage": f"{text} {text}", "label": LABELS[number % 2]}
        for number, text in enumerate(TEXTS)
    ]
}
CALIBRATED = {"data": "docs", "samples": 8, "length": 24}
CRITERIA = ["magnitude", "activation", "taylor"]


def stage(**fields: Any) -> PruneStructured:
    return PruneStructured.model_validate({**CALIBRATED, **fields})


def pruned(model: Model, folder: Path, **fields: Any) -> tuple[Model, dict[str, Any]]:
    ctx = FolderContext(folder, data=DOCS, formats={"torch": Torch()})
    return ctx.apply(stage(**fields), model), dict(ctx.records)


def sizes(records: dict[str, Any]) -> dict[str, int]:
    return {row["size"].partition(" ")[0]: row["after"] for row in records["sizes"]}


def removed(records: dict[str, Any], of: str) -> list[str]:
    return [row["removed"] for row in records["importance"] if row["of"] == of]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return save_family("llama", tmp_path_factory.mktemp("llama") / "model")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return save_family("bert", tmp_path_factory.mktemp("bert") / "model")


def weak(network: Any, family: str) -> None:
    units(network, family, "neurons", [*range(2, NEURONS, 3)], scaled(0.01))
    units(network, family, "queries", [2, 3], scaled(0.01))
    units(network, family, "keys", [1], scaled(0.01))


@pytest.mark.parametrize("importance", CRITERIA)
def test_a_language_model_loses_what_does_least(importance: str, tmp_path: Path) -> None:
    model = save_family("llama", tmp_path / "model", lambda network: weak(network, "llama"))
    _, records = pruned(model, tmp_path / "pruned", neurons=8, heads=2, importance=importance)
    assert removed(records, "neurons") == [" ".join(map(str, range(2, NEURONS, 3)))] * LAYERS
    assert removed(records, "heads") == ["2 3"] * LAYERS


@pytest.mark.parametrize("importance", CRITERIA)
@pytest.mark.parametrize("classify", [False, True])
def test_an_encoder_loses_what_does_least(importance: str, classify: bool, tmp_path: Path) -> None:
    def change(network: Any) -> None:
        units(network, "bert", "neurons", [0, 5, 7], scaled(1e-4))

    model = save_family("bert", tmp_path / "model", change, classify=classify)
    _, records = pruned(model, tmp_path / "pruned", neurons=3, importance=importance)
    assert removed(records, "neurons") == ["0 5 7"] * LAYERS


@pytest.mark.parametrize("importance", CRITERIA)
def test_the_order_of_neurons_does_not_matter(importance: str, llama: Model, tmp_path: Path) -> None:
    network = load_checkpoint(llama)
    order = torch.randperm(NEURONS, generator=torch.Generator().manual_seed(1))
    for layer in network.model.layers:
        for module in (layer.mlp.gate_proj, layer.mlp.up_proj):
            module.weight.data = module.weight.data[order]
            module.bias.data = module.bias.data[order]
        layer.mlp.down_proj.weight.data = layer.mlp.down_proj.weight.data[:, order]
    network.save_pretrained(tmp_path / "other")
    for file in llama.path.glob("tokenizer*"):
        (tmp_path / "other" / file.name).write_bytes(file.read_bytes())
    fields = {"neurons": 0.5, "importance": importance}
    first, _ = pruned(llama, tmp_path / "first", **fields)
    second, _ = pruned(open_checkpoint(tmp_path / "other"), tmp_path / "second", **fields)
    np.testing.assert_allclose(outputs(first.path), outputs(second.path), atol=1e-4)


def test_taylor_is_what_the_loss_changes_by(llama: Model, tmp_path: Path) -> None:
    from modelwright_plugins.prune.importance.calibrated import taylor
    from modelwright_plugins.prune.slicing.axes import sizes_of

    network = load_checkpoint(llama).double()
    tokens = torch.arange(5, 25)[None]
    anatomy = read_anatomy(llama.path)
    assert anatomy is not None

    def loss() -> Any:
        return network(input_ids=tokens, labels=tokens).loss

    scores = taylor(network, FAMILIES["llama"], sizes_of(anatomy.shape), [loss])
    step = 0.02
    weight = network.model.layers[1].mlp.down_proj.weight.data
    head = network.model.layers[0].self_attn.o_proj.weight.data[:, HEAD_DIM : 2 * HEAD_DIM]
    with torch.no_grad():
        for part, score in ((weight[:, 3], scores.neurons[1, 3]), (head, scores.queries[0, 1])):
            losses = []
            for factor in (1 + step, 1 - step):
                part *= factor
                losses.append(float(loss()))
                part /= factor
            slope = (losses[0] - losses[1]) / (2 * step)
            assert float(score) == pytest.approx(slope**2, rel=0.02)


def test_layers_that_change_nothing_go_first(tmp_path: Path) -> None:
    def change(network: Any) -> None:
        for name in ("self_attn.o_proj", "mlp.down_proj"):
            module = network.model.layers[1].get_submodule(name)
            module.weight.zero_()
            module.bias.zero_()

    model = save_family("llama", tmp_path / "model", change)
    result, records = pruned(model, tmp_path / "pruned", layers=1)
    assert [row["kept"] for row in records["block_influence"]] == ["yes", "", "yes"]
    assert records["block_influence_by_layer"][1] == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(outputs(result.path), outputs(model.path), atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"neurons": 0.3}, {"neurons": 16}),
        ({"neurons": 0.3, "round_to": 1}, {"neurons": 17}),
        ({"neurons": "30%", "round_to": 1}, {"neurons": 17}),
        ({"neurons": 3}, {"neurons": 21}),
        ({"heads": 0.5}, {"heads": 2, "key-value": 1}),
        ({"heads": 0.4, "gqa": "queries"}, {"heads": 2, "key-value": 2}),
        ({"width": 0.25}, {"width": 24}),
        ({"heads": 2, "width": 10}, {"heads": 2, "key-value": 1, "width": 22}),
        ({"layers": 0.3}, {"layers": 2}),
    ],
)
def test_amounts_are_shares_or_numbers(
    fields: dict[str, Any], expected: dict[str, int], llama: Model, tmp_path: Path
) -> None:
    _, records = pruned(llama, tmp_path, **fields)
    dense = {"layers": 3, "width": 32, "neurons": 24, "heads": 4, "key-value": 2, "head": 8}
    assert sizes(records) == {**dense, **expected}


@pytest.mark.parametrize(
    ("family", "cut"),
    [
        ("llama", []),
        ("llama", ["neurons", "heads", "layers", "width"]),
        ("qwen3", ["layers", "neurons"]),
        ("bert", ["neurons", "layers"]),
        ("gpt2", ["neurons", "width"]),
    ],
)
def test_a_budget_of_parameters_is_kept_and_used(family: str, cut: list[str], tmp_path: Path) -> None:
    model = save_family(family, tmp_path / "model", intermediate_size=64, n_inner=64)
    result, records = pruned(model, tmp_path / "pruned", parameters="20%", cut=cut, round_to=1)
    parameters = Torch().size(result.path).parameters
    assert records["parameters"]["after"] == parameters
    least = 0.6 if "width" in cut or "layers" in cut else 0.78  # their steps are coarse in a tiny model
    assert least < parameters / Torch().size(model.path).parameters <= 0.8


def test_a_report_shows_ranks_and_what_went(llama: Model, tmp_path: Path) -> None:
    _, records = pruned(llama, tmp_path, neurons=8, heads=2, layers=1)
    rows = records["importance"]
    assert [(row["of"], row["layer"]) for row in rows] == [
        *(("heads", 0), ("heads", 1)),
        *(("neurons", 0), ("neurons", 1)),
    ]
    for row in rows:
        ranking = row["ranking"].split()
        assert {*row["removed"].split()} <= {*ranking}
        assert len(ranking) == row["before"]
        assert 0 < row["importance kept"] < 1
    curve = records["neurons_by_rank"]
    assert curve == sorted(curve, reverse=True)
    assert curve[0] == 1
    assert len(curve) == NEURONS
    before, after = records["parameters"]["before"], records["parameters"]["after"]
    assert records["parameters"]["removed"] == pytest.approx(1 - after / before, abs=1e-4)


def test_the_same_bytes_again(llama: Model, tmp_path: Path) -> None:
    fields = {"parameters": 0.2, "importance": "taylor"}
    results = [pruned(llama, tmp_path / name, **fields)[0] for name in ("first", "second")]
    assert results[0].digest == results[1].digest


def test_half_precision_stays(llama: Model, tmp_path: Path) -> None:
    from modelwright_plugins.cast.dtype import CastDtype

    half = FolderContext(tmp_path / "half").apply(CastDtype(dtype="bf16"), llama)
    for importance in CRITERIA:
        result, _ = pruned(half, tmp_path / importance, neurons=8, width=8, importance=importance)
        assert load_checkpoint(result).dtype == torch.bfloat16
        assert np.isfinite(np.float32(load_checkpoint(result).lm_head.weight.detach().float())).all()


@pytest.mark.parametrize("task", ["embed", "generate"])
def test_a_result_exports_and_runs(task: str, llama: Model, bert: Model, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="needs the export extra")
    from modelwright.api.target import Target
    from modelwright_plugins.export.onnx import ExportOnnx
    from modelwright_plugins.format.onnx import Onnx

    if task == "embed":
        result, _ = pruned(bert, tmp_path / "pruned", neurons=0.3, width=0.25)
    else:
        result, _ = pruned(llama, tmp_path / "pruned", heads=0.5, neurons=0.3, width=0.25)
    exported = FolderContext(tmp_path / "exported").apply(ExportOnnx(), result)
    target = Target(threads=1)
    found, expected = (
        form.runner(model, target).run(TEXTS[:4]) for form, model in ((Onnx(), exported), (Torch(), result))
    )
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_the_least_step_is_found_by_halving() -> None:
    for wanted in range(1, 20):
        tried: list[int] = []

        def reached(step: int, wanted: int = wanted, tried: list[int] = tried) -> bool:
            tried.append(step)
            return step >= wanted

        assert least_step(19, reached) == wanted
        assert len(tried) <= 6
    assert least_step(19, lambda step: False) is None


def test_a_latency_that_nothing_reaches_is_refused(bert: Model, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"With 95% less of neurons it is .* and not 1000 times") as refused:
        pruned(bert, tmp_path, latency=1000, at={"batch": 1, "length": 8}, rounds=3)
    assert refused.value.where == "stages.trial.latency"
    assert stage(latency=2).depends_on_machine()
    assert not stage(parameters=0.2).depends_on_machine()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "say what to remove: neurons, heads, layers, width, or a budget: parameters or latency"),
        ({"neurons": 1.0}, "a share above 0 and below 1, such as 0.25 or 25%, or a whole number"),
        ({"heads": -0.2}, "a share above 0 and below 1"),
        ({"layers": 0}, "a whole number to remove"),
        ({"width": True}, "a whole number to remove"),
        ({"width": "many"}, "a whole number to remove"),
        ({"parameters": "130%"}, "less than 1"),
        ({"parameters": "a lot%"}, "give a share such as 30%"),
        ({"latency": 0.8}, "greater than 1"),
        ({"parameters": 0.3, "heads": 2}, "parameters and heads: give amounts, or one budget"),
        ({"parameters": 0.3, "latency": 2}, "parameters and latency: give amounts, or one budget"),
        ({"neurons": 0.3, "cut": ["heads"]}, "cut says what a budget is taken from"),
        ({"neurons": 0.3, "at": {"batch": 2}}, "at says how a latency is measured"),
        ({"neurons": 0.3, "data": None}, "importance activation needs data"),
        ({"heads": 0.3, "data": None, "importance": "taylor"}, "importance taylor needs data"),
        ({"layers": 2, "data": None, "importance": "magnitude"}, "block influence, which needs data"),
        ({"parameters": 0.3, "cut": ["layers"], "data": None}, "block influence, which needs data"),
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        stage(**fields)


@pytest.mark.parametrize(
    ("fields", "words", "accepted"),
    [
        ({"heads": 1}, "1 head cannot go: 4 query heads are 2 groups of 2", "to remove: 2;"),
        ({"heads": 3, "gqa": "queries"}, "3 heads cannot go: .* each loses as many", "to remove: 2;"),
        ({"heads": 0.1}, "A share of 0.1 of the heads cannot go", "to remove: 2;"),
        ({"heads": 4}, "4 heads cannot go", "to remove: 2;"),
        ({"layers": 3}, "3 layers cannot go of a model with 3", "1 to 2"),
        ({"layers": 0.1}, "A share of 0.1 of the layers cannot go", "1 to 2"),
        ({"neurons": 24}, "24 neurons cannot go of a model with 24", "1 to 23"),
        ({"neurons": 0.01}, "A share of 0.01 of the neurons", "ends on a multiple of 8"),
        ({"width": 3}, "3 width cannot go of a model with 32", "a multiple of the 4 heads"),
        ({"parameters": 0.9}, "90% of the parameters cannot go from neurons, heads", "more parts in cut"),
    ],
)
def test_what_cannot_go_is_refused_before_a_weight_is_read(
    fields: dict[str, Any], words: str, accepted: str, llama: Model, tmp_path: Path
) -> None:
    size = Torch().size(llama.path).model_copy(update={"anatomy": Torch().anatomy(llama.path)})
    with pytest.raises(RecipeError, match=words) as planned:
        stage(**fields).footprint(size)
    assert accepted in str(planned.value)
    with pytest.raises(RecipeError, match=words) as refused:
        pruned(llama, tmp_path, **fields)
    assert refused.value.where == f"stages.trial.{next(iter(fields))}"


def test_heads_that_would_not_divide_the_width_are_refused(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 4}
    model = save_family("llama", tmp_path / "model", **fields)
    with pytest.raises(RecipeError, match="those left divide the width") as refused:
        pruned(model, tmp_path / "one", heads=1)
    assert "to remove: 2, 3;" in str(refused.value)
    # Mistral's configuration does not ask for it.
    other = save_family("mistral", tmp_path / "other", **fields)
    result, _ = pruned(other, tmp_path / "three", heads=1)
    assert load_checkpoint(result).config.num_attention_heads == 3


def test_a_part_of_the_width_that_is_no_head_is_refused(bert: Model, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="10 width cannot go: the width 32 is 4 heads of 8") as refused:
        pruned(bert, tmp_path, width=10)
    assert "multiples of 8 below 32" in str(refused.value)


@pytest.mark.parametrize("fields", [{"heads": 1}, {"parameters": 0.2, "cut": ["heads"]}])
def test_heads_alone_are_refused_where_the_head_size_follows_the_width(
    fields: dict[str, Any], bert: Model
) -> None:
    with pytest.raises(RecipeError, match="BertModel cannot lose heads alone") as refused:
        stage(**fields).check(bert.spec)
    assert "neurons, layers, or width, with which heads go" in str(refused.value)


def test_a_family_that_is_not_known_is_refused(llama: Model) -> None:
    spec = llama.spec.model_copy(update={"architecture": "MixtralForCausalLM"})
    with pytest.raises(RecipeError, match="How to cut 'MixtralForCausalLM' is not known") as refused:
        stage(neurons=0.3).check(spec)
    assert "llama" in str(refused.value)


@pytest.mark.parametrize("name", ["Gemma2ForCausalLM", "Qwen2MoeForCausalLM", "BertGenerationDecoder"])
def test_a_class_whose_name_begins_like_a_known_one_is_refused(name: str, llama: Model) -> None:
    spec = llama.spec.model_copy(update={"architecture": name})
    with pytest.raises(RecipeError, match=f"How to cut '{name}' is not known"):
        stage(neurons=8).check(spec)


def test_a_tensor_that_the_family_does_not_have_is_refused(llama: Model) -> None:
    from modelwright_plugins.prune.slicing.axes import sizes_of
    from modelwright_plugins.prune.slicing.cut import require_known

    anatomy = read_anatomy(llama.path)
    assert anatomy is not None
    network = load_checkpoint(llama)
    require_known(network, FAMILIES["llama"], sizes_of(anatomy.shape))
    network.model.layers[1].mlp.adapter = torch.nn.Linear(32, 32)
    with pytest.raises(StageError, match=r"'model\.layers\.1\.mlp\.adapter\.weight' \[32, 32\] is not one"):
        require_known(network, FAMILIES["llama"], sizes_of(anatomy.shape))


def test_layers_stay_where_attention_depends_on_their_number(tmp_path: Path) -> None:
    model = save_family("gpt2", tmp_path / "model", scale_attn_by_inverse_layer_idx=True)
    with pytest.raises(RecipeError, match="scales attention by the number of the layer") as refused:
        pruned(model, tmp_path / "layers", layers=1)
    assert refused.value.where == "stages.trial.layers"
    pruned(model, tmp_path / "neurons", neurons=8)


def test_an_empty_calibration_set_is_refused(llama: Model, bert: Model, tmp_path: Path) -> None:
    for name, model, fields in (
        ("activation", llama, {"neurons": 8}),
        ("layers", llama, {"layers": 1}),
        ("texts", bert, {"neurons": 8}),
    ):
        ctx = FolderContext(tmp_path / name, data={("docs", "calibration"): []})
        with pytest.raises(RecipeError, match="The calibration split of 'docs' has no text"):
            ctx.apply(stage(**fields), model)
    ctx = FolderContext(tmp_path / "pairs", data={("docs", "calibration"): [{"text": "alone"}]})
    with pytest.raises(RecipeError, match="has no queries with passages") as refused:
        ctx.apply(stage(neurons=8, importance="taylor"), bert)
    assert "importance=activation" in str(refused.value)


def test_weights_that_overflow_are_refused(tmp_path: Path) -> None:
    def change(network: Any) -> None:
        network.model.layers[0].mlp.up_proj.weight.fill_(float("inf"))

    model = save_family("llama", tmp_path / "model", change)
    with pytest.raises(StageError, match="not finite on the calibration data"):
        pruned(model, tmp_path / "pruned", neurons=8)


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ({"first": {"use": "prune.magnitude", "pattern": "2:4"}}, "'prune' (prune.structured) cannot follow"),
        ({"first": {"use": "prune.magnitude"}}, "sparse: zeros at single places would be cut through"),
    ],
)
def test_a_sparse_model_is_refused_in_the_plan(
    stages: dict[str, Any], words: str, llama: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = {**stages, "prune": {"use": "prune.structured", "neurons": 8, "importance": "magnitude"}}
    recipe = {
        "name": "trial",
        "model": {"path": str(llama.path)},
        "target": {"device": "cpu"},
        "stages": steps,
        "validate": {"metrics": {"size": {}}, "gates": {}},
    }
    (tmp_path / "trial.yaml").write_text(json.dumps(recipe), encoding="utf-8")
    arguments = ["plan", str(tmp_path / "trial.yaml"), "--artifacts", str(tmp_path / "artifacts")]
    assert run_command(arguments) == 2
    assert words in capsys.readouterr().err


def test_query_heads_are_not_cut_out_of_groups_of_one(tmp_path: Path) -> None:
    model = save_family("gpt2", tmp_path / "model")
    with pytest.raises(RecipeError, match="has a key-value head of its own") as refused:
        pruned(model, tmp_path / "run", width=0.5, gqa="queries")
    assert refused.value.where == "stages.trial.gqa"


def test_rounds_say_how_a_latency_is_measured() -> None:
    with pytest.raises(ValidationError, match="rounds says how a latency is measured"):
        stage(neurons=0.5, rounds=9)
