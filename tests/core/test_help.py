"""The command's first impression."""

import argparse
import importlib
import subprocess
import sys

import pytest

from modelwright.cli.main import COMMANDS
from tests.core.bench import in_process

HEAVY = ("torch", "hydra", "transformers", "onnx", "onnxruntime", "openvino", "numpy", "pydantic", "rich")


def test_help_imports_nothing_heavy():
    source = (
        "import sys; sys.argv = ['modelwright', '--help']\n"
        "from modelwright.__main__ import main\nmain()\n"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert "LOADED []" in done.stdout
    assert "exit codes" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit) as ended:
        in_process(capsys, name, "--help")
    assert ended.value.code == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_says_what_it_is(name: str):
    module = importlib.import_module(f"modelwright.cli.commands.{name.replace('-', '_')}")
    parser = argparse.ArgumentParser(prog=name)
    module.add_arguments(parser)
    assert [action.dest for action in parser._actions if not action.help] == []


def test_an_unknown_command_is_told_the_nearest(capsys: pytest.CaptureFixture):
    ended = in_process(capsys, "verfy")
    assert ended.code == 2
    assert "did you mean 'verify'?" in ended.err


def test_an_unknown_option_ends_with_2(capsys: pytest.CaptureFixture):
    assert in_process(capsys, "list", "--bogus").code == 2
