"""How plugins are found, and what happens when one is broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelwright.planning.gpu import gpus
from modelwright.registry import Registry
from tests.core.bench import Bench


@pytest.fixture
def install(tmp_path: Path):
    """Puts a distribution with one plugin module on a path of its own."""

    def write(name: str, source: str, entry: str = "plugin") -> Path:
        place = tmp_path / f"site-{name}"
        info = place / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[modelwright]\n{entry} = {name}_module\n")
        (place / f"{name}_module.py").write_text(source)
        return place

    return write


def test_built_ins_and_strangers_come_through_the_same_door():
    registry = Registry.load()
    assert registry.stages.distribution("export.onnx").name == "modelwright"
    assert registry.stages.distribution("toy.scale").name == "toy-plugin"


def test_a_plugin_that_raises_on_import_is_named(bench: Bench, install):
    place = install("broken", "raise RuntimeError('no such luck')")
    ended = bench.command("plan", "toy.yaml", first_path=place)
    assert ended.code == 2
    assert "The plugin 'plugin' does not load: RuntimeError: no such luck" in ended.err
    assert "distribution 'broken' 1.0" in ended.err
    assert "pip uninstall broken" in ended.err


def test_a_hook_that_does_not_exist_is_refused(bench: Bench, install):
    source = "from modelwright import hookimpl\n@hookimpl\ndef modelwright_stagse():\n    return []\n"
    ended = bench.command("stages", first_path=install("typo", source))
    assert ended.code == 2
    assert "modelwright_stagse" in ended.err


FAILING_HOOKS = {
    "imports what is not there": (
        "@hookimpl\ndef modelwright_stages():\n    import not_here_at_all\n    yield None\n",
        ["hook modelwright_stages fails", "ModuleNotFoundError", "not_here_at_all", "distribution 'odd' 1.0"],
    ),
    "yields a function": (
        "@hookimpl\ndef modelwright_stages():\n    yield print\n",
        ["built-in function print", "no stage", "plugin 'odd'", "derive from Stage"],
    ),
    "yields another kind": (
        "from modelwright import Metric\n"
        "class Odd(Metric, name='odd'):\n"
        "    def observe(self, model, runner, ctx): ...\n"
        "    def compare(self, baseline, candidate, seed): ...\n"
        "@hookimpl\ndef modelwright_stages():\n    yield Odd\n",
        ["no stage", "plugin 'odd'"],
    ),
    "yields half a class": (
        "from modelwright import Stage\n"
        "class Odd(Stage, name='odd', takes='bag', gives='bag'): ...\n"
        "@hookimpl\ndef modelwright_stages():\n    yield Odd\n",
        ["The stage Odd is abstract: it lacks run", "plugin 'odd'"],
    ),
    "returns a class": (
        "from modelwright import Stage\n@hookimpl\ndef modelwright_stages():\n    return Stage\n",
        ["hook modelwright_stages fails: TypeError", "distribution 'odd' 1.0"],
    ),
    "names its YAML badly": (
        "@hookimpl\ndef modelwright_config():\n    raise OSError('gone')\n",
        ["hook modelwright_config fails: OSError: gone", "pip uninstall odd"],
    ),
}


@pytest.mark.parametrize("case", FAILING_HOOKS)
def test_a_hook_that_fails_names_its_distribution(bench: Bench, install, case: str):
    source, words = FAILING_HOOKS[case]
    ended = bench.command("stages", first_path=install("odd", "from modelwright import hookimpl\n" + source))
    assert ended.code == 2, ended.err
    for word in words:
        assert word in ended.err


def test_a_loaded_registry_takes_no_more():
    registry = Registry.load()
    name = next(iter(registry.stages))
    with pytest.raises(TypeError, match="frozen"):
        registry.stages.add(registry.stages[name], registry.stages.distribution(name))


def test_a_name_registered_twice_names_both_distributions(bench: Bench, install):
    source = (
        "from modelwright import hookimpl, Stage\n"
        "class Mine(Stage, name='toy.scale', takes='bag', gives='bag'):\n"
        "    def run(self, model, ctx): ...\n"
        "@hookimpl\ndef modelwright_stages():\n    yield Mine\n"
    )
    ended = bench.command("stages", first_path=install("rival", source))
    assert ended.code == 2
    assert "Two plugins register the stage 'toy.scale'" in ended.err
    assert "rival" in ended.err
    assert "toy-plugin" in ended.err


def test_a_plugin_may_bring_recipes_of_its_own(bench: Bench, install):
    source = "from modelwright import hookimpl\n@hookimpl\ndef modelwright_config():\n    yield 'pkg://recipes_of_mine'\n"
    place = install("withconf", source)
    folder = place / "recipes_of_mine" / "recipe"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("")
    (folder / "toy-twice.yaml").write_text(
        "# @package _global_\n# Twice.\n" + bench.recipe.read_text("utf-8")
    )
    assert "toy-twice" in bench.command("recipes", first_path=place).out
    ended = bench.command("run", "recipe=toy-twice", first_path=place)
    assert ended.code == 0, ended.err


def test_editing_a_plugin_outdates_what_it_made(bench: Bench, install):
    source = (
        "from modelwright import hookimpl, Stage\nimport shutil\n"
        "class Mine(Stage, name='mine.copy', takes='bag', gives='bag'):\n"
        "    def run(self, model, ctx):\n"
        "        shutil.copytree(model.path, ctx.out, dirs_exist_ok=True)\n"
        "@hookimpl\ndef modelwright_stages():\n    yield Mine\n"
    )
    place = install("mine", source)
    bench.write(stages={"copy": {"use": "mine.copy"}})
    assert bench.command("run", "toy.yaml", first_path=place).code == 0
    (place / "mine_module.py").write_text(source + "# another version\n")
    assert "copy: done in" in bench.command("run", "toy.yaml", first_path=place).out


def test_doctor_lists_every_kind_of_component(bench: Bench):
    ended = bench.command("doctor")
    assert ended.code == 0, ended.err
    for kind, name in (
        ("format", "bag"),
        ("stage", "toy.rare"),
        ("metric", "parity"),
        ("data set", "jsonl"),
        ("publisher", "local"),
    ):
        assert any(
            line.split()[: len(kind.split()) + 1] == [*kind.split(), name] for line in ended.out.splitlines()
        )
    assert "missing not-installed-anywhere>=1" in ended.out


def test_types_of_parameters_are_written_without_what_validates_them(bench: Bench):
    lines = bench.command("stages", "compile.tensorrt").out.splitlines()
    rows = {line.split("  ")[0]: line for line in lines}
    assert "tuple[dict[str, tuple[int, int, int]], ...]" in rows["profiles"]
    assert "int | None" in rows["optimization_level"]


def test_doctor_says_which_runtimes_serve_a_gpu_and_why_not(bench: Bench):
    lines = bench.command("doctor").out.splitlines()
    reasons = {
        "PyTorch": ("built without CUDA", "finds no device"),
        "ONNX Runtime": (
            "built for the CPU: install modelwright[gpu]",
            "does not load",
            "no NVIDIA GPU here",
        ),
        "TensorRT for RTX": ("pip install 'modelwright[tensorrt-rtx]'", "no NVIDIA GPU here; builds engines"),
    }
    if gpus():
        reasons["TensorRT for RTX"] = (reasons["TensorRT for RTX"][0], "serves compute capability")
    for runtime, known in reasons.items():
        [state] = [line.partition("  ")[2].strip() for line in lines if line.startswith(f"{runtime} ")]
        assert any(reason in state for reason in known) or (gpus() and state == "usable"), state
