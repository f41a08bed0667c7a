"""A recipe of the toy plugin, and ways to run it."""

from __future__ import annotations

import copy
import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from modelwright.cli.main import run_command
from toy_plugin.bag import WORDS, write_bag

RECIPE: dict[str, Any] = {
    "name": "toy",
    "model": {"path": "model"},
    "target": {"threads": 1},
    "data": {"docs": {"use": "jsonl", "path": "docs.jsonl"}},
    "stages": {
        "double": {"use": "toy.scale", "factor": 2.0},
        "halve": {"use": "toy.scale", "factor": 0.5},
    },
    "validate": {
        "metrics": {"parity": {"data": "docs", "samples": 8}, "size": {}},
        "gates": {"parity": {"metric": "parity.cosine_mean", "at_least": 0.99}},
    },
}


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


class Bench:
    """A folder with a model, data and a recipe, and commands that run in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        write_bag(root / "model")
        write_texts(root / "docs.jsonl")
        self.recipe = root / "toy.yaml"
        self.write()

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    def write(self, **changes: Any) -> None:
        """Write the recipe with top-level keys replaced."""
        self.recipe.write_text(
            yaml.safe_dump({**copy.deepcopy(RECIPE), **changes}, sort_keys=False), encoding="utf-8"
        )

    def command(self, *args: str, first_path: Path | None = None, **variables: str) -> Ended:
        """Run a command in a process of its own; `first_path` goes before everything it imports from."""
        done = subprocess.run(
            [sys.executable, "-m", "modelwright", *args],
            cwd=self.root,
            env={**environment(first_path), **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def run(self, *args: str) -> Ended:
        return self.command("run", "toy.yaml", *args)

    def versions(self) -> list[int]:
        folder = self.artifacts / "toy"
        return sorted(int(item.name) for item in folder.glob("[0-9]*")) if folder.is_dir() else []

    def manifest(self, version: int) -> dict[str, Any]:
        return json.loads((self.artifacts / "toy" / str(version) / "manifest.json").read_text("utf-8"))

    def last_report(self) -> dict[str, Any]:
        run = max((self.artifacts / "toy" / "runs").iterdir(), key=lambda folder: folder.stat().st_mtime_ns)
        return json.loads((run / "report.json").read_text("utf-8"))


def start(bench: Bench) -> subprocess.Popen[str]:
    """A run of the recipe in the background."""
    return subprocess.Popen(
        [sys.executable, "-m", "modelwright", "run", "toy.yaml"],
        cwd=bench.root,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def environment(first_path: Path | None = None) -> dict[str, str]:
    """The environment of a child that finds the toy plugin."""
    first = [str(first_path)] if first_path else []
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*first, *filter(None, sys.path)])}


def write_texts(file: Path, count: int = 300) -> None:
    rng = random.Random(0)
    rows = [
        {"query": " ".join(rng.choices(WORDS, k=5)), "passage": " ".join(rng.choices(WORDS, k=15))}
        for _ in range(count)
    ]
    file.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")


def in_process(capsys: Any, *args: str) -> Ended:
    """Run a command in this process, which is quicker where no state can leak."""
    code = run_command(args)
    captured = capsys.readouterr()
    return Ended(code, captured.out, captured.err)
