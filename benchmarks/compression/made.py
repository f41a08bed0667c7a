"""What chains of stages make of a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.models.steps import run_stages
from modelwright.api.model import Model

Chain = dict[str, dict[str, Any]]


class Made(NamedTuple):
    """A model, the chain that made it (None: not one of ours), and the seconds that took when it was made."""

    name: str
    chain: Chain | None
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
        done = run_stages(stages, model, work, {"docs": data})
        yield Made(name, chain, done.models[done.results[-1].name], sum(done.seconds.values()))
