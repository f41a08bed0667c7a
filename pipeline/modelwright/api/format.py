"""A model format: how its folder is recognised, described, checked and run."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from modelwright.api.anatomy import Anatomy
from modelwright.api.component import Component
from modelwright.api.model import Model, ModelSize, ModelSpec
from modelwright.api.runner import Runner
from modelwright.api.target import Target


@dataclass(frozen=True)
class GpuRuntime:
    """A runtime that serves NVIDIA GPUs, and what keeps it from this machine's, if anything does."""

    name: str
    problem: str | None = None


class Format(Component):
    """A folder layout and the runtime that runs it.

    >>> Onnx().runner(model, Target(threads=2)).run(["a text"])

    A format whose folders can be the input of a recipe implements `recognises` and `describe`. `requires`
    are the distributions its runner needs. `check`, `size` and `graph_operators` read files only, never
    the runtime's own loader. `fused` are the operators that stand for several, which the report counts.
    `files` are those that other programs load by their path: the model whole in the first, then what goes
    beside it; none where a folder is loaded.
    """

    fused: ClassVar[frozenset[str]] = frozenset()
    files: ClassVar[tuple[str, ...]] = ()

    def recognises(self, path: Path) -> bool:
        """Whether a folder that does not describe itself is of this format."""
        return False

    def describe(self, path: Path, *, trust_remote_code: bool = False) -> ModelSpec:
        """The spec of a folder that `recognises` accepts. Raises RecipeError on what it cannot serve."""
        # Not abstract: only a format whose folders a recipe can start from has one.
        raise NotImplementedError(f"format '{self.name}' cannot be the input of a recipe")

    def fetch(self, source: str, *, revision: str | None, trust_remote_code: bool) -> Path:
        """The local folder of a `source` that is no path, such as a hub id. Raises MissingError."""
        # Not abstract: few formats have a place to fetch from.
        raise NotImplementedError(f"format '{self.name}' fetches nothing")

    @abstractmethod
    def check(self, path: Path, *, deep: bool = False) -> None:
        """Raise RecipeError when the folder is damaged. `deep` also reads the weights (NaN, infinity)."""

    @abstractmethod
    def size(self, path: Path) -> ModelSize:
        """Parameters and weight bytes, from headers alone."""

    def anatomy(self, path: Path) -> Anatomy | None:
        """What the model is built of, from its configuration and headers alone; None where that is unknown.

        The folder may hold no weights. Raises RecipeError when what it says cannot be right.
        """
        return None

    @classmethod
    def gpu_runtimes(cls) -> tuple[GpuRuntime, ...]:
        """Its runtimes on NVIDIA GPUs, tried on this machine; none where it serves the CPU alone."""
        return ()

    def runs_here(self, target: Target) -> bool:
        """Whether its models run on this machine for such a target; a recipe cannot say that they do not."""
        return True

    def check_target(self, target: Target) -> None:
        """Raise RecipeError or MissingError for a target that its runtime cannot run for here.

        Called while a run is planned, of formats whose models it will run, before there is one; the error's
        `where` is `target.FIELD`.
        """
        return

    @abstractmethod
    def runner(self, model: Model, target: Target) -> Runner:
        """Load the model in its runtime. Raises MissingError when the device is not there."""

    def graph_operators(self, model: Model) -> dict[str, int]:
        """How often each operator occurs in the graph; empty where there is no graph to read."""
        return {}
