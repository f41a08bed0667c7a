"""The worker's side of measuring: load a model in its runtime and observe it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelwright.api.dataset import Dataset
from modelwright.api.metric import Metric, MetricContext
from modelwright.api.model import Model, ModelSpec
from modelwright.api.target import Target
from modelwright.planning.gpu import gpu_memory
from modelwright.process.channel import Channel
from modelwright.registry import Registry
from modelwright.validation.observations import write_observation

NEXT = "next"
HANDLER = f"{__name__}:observe"


def observe(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Observe one model with some metrics; in turns, waiting for `next` before each round, where asked."""
    registry = Registry.load()
    target = Target.model_validate(payload["target"])
    model = Model(Path(payload["path"]), ModelSpec.model_validate(payload["spec"]), payload["digest"])
    format_ = registry.formats[model.spec.format]()
    metrics = {key: registry.metrics.restore(item) for key, item in payload["metrics"].items()}
    datasets = {key: registry.datasets.restore(item) for key, item in payload["datasets"].items()}
    context = MetricContext(
        target, payload["seed"], format_, {
            (name, metric.split): datasets[name].load(metric.split)
            for metric in metrics.values()
            for name in metric.data_names()
        }, gpu_memory() if target.device == "cuda" else None,
    )  # fmt: skip
    needs_runner = any(metric.needs_runner for metric in metrics.values())
    if payload["in_turns"]:
        channel.wait()  # loading takes its turn too
    runner = format_.runner(model, target) if needs_runner else None
    if payload["in_turns"]:
        channel.send("ready")
    for key, metric in metrics.items():
        rounds = metric.observe(model, runner, context)
        index = 0
        while True:
            if payload["in_turns"]:
                channel.wait()
            observation = next(rounds, None)
            if observation is None:
                break
            write_observation(Path(payload["out"]), f"{key}-{index}", observation)
            channel.send("round", metric=key, index=index)
            index += 1
        channel.send("finished", metric=key, rounds=index)
    records = [[name, split, len(rows)] for (name, split), rows in context.records.items()]
    return {"runtime": runner.describe() if runner else {}, "records": records}


def job(
    model: Model,
    metrics: dict[str, Metric],
    datasets: dict[str, Dataset],
    target: Target,
    seed: int,
    out: Path,
    *,
    in_turns: bool,
) -> dict[str, Any]:
    """The payload of `observe`."""
    named = {name for metric in metrics.values() for name in metric.data_names()}
    return {
        "path": str(model.path),
        "spec": model.spec.model_dump(mode="json"),
        "digest": model.digest,
        "target": target.model_dump(mode="json"),
        "seed": seed,
        "metrics": {key: metric.reference() for key, metric in metrics.items()},
        "datasets": {name: datasets[name].reference() for name in sorted(named)},
        "out": str(out),
        "in_turns": in_turns,
    }
