"""Recorded outputs: a few texts and what the released model makes of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from modelwright.api.model import Model, ModelSpec
from modelwright.api.runner import Runner
from modelwright.api.target import Target
from modelwright.process.channel import Channel
from modelwright.process.worker import Worker
from modelwright.registry import Registry

HANDLER = f"{__name__}:run_samples"
TEXTS = (
    "Return the number of items in the container.",
    "How do I read a text file line by line?",
    "The train to the coast leaves at a quarter past nine, weather permitting.",
    "naïve café, Straße, 東京, Ελλάδα",
    "x",
    "A pipeline that measures what it ships. " * 12,
)


# A large vocabulary's logits would make a file of many megabytes; their beginning tells a change as well.
RECORDED = 1024


class Samples(BaseModel):
    """Texts and the first values of the rows a runner gave for them, one text at a time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    texts: list[str]
    outputs: list[list[float]]

    def deviation(self, runner: Runner) -> float:
        """The largest absolute difference from a runner's rows; infinite where the shape differs."""
        rows, recorded = runner.run(self.texts, 1), np.array(self.outputs, dtype=np.float32)
        if recorded.ndim != 2 or len(rows) != len(recorded) or rows.shape[1] < recorded.shape[1]:
            return math.inf
        # Only rows that were cut when they were recorded may be longer now.
        if rows.shape[1] > recorded.shape[1] != RECORDED:
            return math.inf
        return float(np.abs(rows[:, : recorded.shape[1]] - recorded).max())


def record_samples(model: Model, target: Target, log: Path) -> Samples:
    """Run the texts in a worker process."""
    payload = {
        "path": str(model.path),
        "spec": model.spec.model_dump(mode="json"),
        "digest": model.digest,
        "target": target.model_dump(mode="json"),
    }
    with Worker(HANDLER, payload, log=log, threads=target.thread_count, what="Recording samples") as worker:
        return Samples.model_validate(worker.result()["result"])


def run_samples(payload: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """The worker's side of `record_samples`."""
    spec = ModelSpec.model_validate(payload["spec"])
    model = Model(Path(payload["path"]), spec, payload["digest"])
    runner = Registry.load().formats[spec.format]().runner(model, Target.model_validate(payload["target"]))
    rows = runner.run(list(TEXTS), 1)
    return {"texts": list(TEXTS), "outputs": rows[:, :RECORDED].tolist()}
