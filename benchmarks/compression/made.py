"""What chains of stages make of a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.models.steps import run_stages
from modelwright.api.model import Model

Chain = dict[str, dict[str, Any]]


class Made(NamedTuple):
    """A model, the chain that made it, and the seconds that took when it was made."""

    name: str
    chain: Chain
    model: Model
    seconds: float | None = None


def made(
    chains: Mapping[str, Chain], model: Path | str, work: Path, data: Mapping[str, Any]
) -> Iterator[Made]:
    """Each chain's model; what stands in `work` is taken from there. An empty chain leaves it as it is."""
    for name, chain in chains.items():
        print(f"{name} ...", flush=True)
        # A cast to what the weights are in changes nothing: the model as a step's result.
        stages = chain or {"cast": {"use": "cast.dtype", "dtype": "fp32"}}
        runner = run_stages(stages, model, work, {"docs": data})
        seconds = sum(result.seconds for result in runner.results)
        yield Made(name, chain, runner.models[runner.results[-1].name], seconds)
