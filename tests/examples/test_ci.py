from __future__ import annotations

import importlib
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelwright.cli.main import COMMANDS, Parser

CI = Path(__file__).parents[2] / "examples" / "ci"
FILES = sorted(CI.glob("*.yml"))


def _strings(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [text for value in node.values() for text in _strings(value)]
    if isinstance(node, list):
        return [text for value in node for text in _strings(value)]
    return [node] if isinstance(node, str) else []


def test_both_services_have_an_example() -> None:
    assert [file.name for file in FILES] == ["github-actions.yml", "gitlab-ci.yml"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_its_commands_are_ours(file: Path) -> None:
    texts = _strings(yaml.safe_load(file.read_text(encoding="utf-8")))
    lines = [line.strip() for text in texts for line in text.splitlines()]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("modelwright ")]
    assert ["run", "$RECIPE"] in commands
    for name, *arguments in commands:
        assert name in COMMANDS
        parser = Parser(prog=name)
        importlib.import_module(f"modelwright.cli.commands.{name}").add_arguments(parser)
        parser.parse_intermixed_args(arguments)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_keeps_the_store_the_report_and_the_exit_code(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    assert ".modelwright-store" in str(_strings(content))
    assert "artifacts/*/runs/*/junit.xml" in text
    assert "artifacts/*/runs/*/report.md" in text
    torch, ours = text.index("pip install torch"), text.index("pip install 'modelwright[cpu]'")
    assert torch < ours
    assert "continue-on-error" not in text
    assert "allow_failure" not in text


def test_github_runs_what_reports_even_after_a_failed_gate() -> None:
    content = yaml.safe_load((CI / "github-actions.yml").read_text(encoding="utf-8"))
    steps = content["jobs"]["optimize"]["steps"]
    run = next(index for index, step in enumerate(steps) if "modelwright run" in step.get("run", ""))
    reporting = [step for step in steps[run + 1 :] if step.get("with", {}).get("name") != "model"]
    assert all("!cancelled()" in step.get("if", "") for step in reporting)
