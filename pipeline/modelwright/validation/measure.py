"""Measures models, each in a process of its own: one at a time for quality, in turns for speed."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelwright.api.dataset import Dataset
from modelwright.api.metric import Metric, Observation, Value
from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.digest import digest_json
from modelwright.planning.gpu import gpus
from modelwright.planning.hardware import fingerprint
from modelwright.planning.key import core_versions, source_digest
from modelwright.process import load
from modelwright.process.nvml import Clock, clock
from modelwright.process.worker import Message, Worker
from modelwright.registry import Registry
from modelwright.store.store import Store
from modelwright.validation.observations import read_observation
from modelwright.validation.observe import HANDLER, NEXT, job

Listener = Callable[[str], None]


@dataclass
class Observed:
    """What was observed of one model: observations per metric, and what ran."""

    rounds: dict[str, list[Observation]] = field(default_factory=dict)
    runtime: dict[str, str] = field(default_factory=dict)
    records: dict[tuple[str, str], int] = field(default_factory=dict)
    from_store: set[str] = field(default_factory=set)

    def note(self, result: dict[str, Any]) -> None:
        """Take over what a worker said it ran and read."""
        self.runtime.update(result["runtime"])
        self.records.update({(name, split): count for name, split, count in result["records"]})


def compared(metric: Metric, key: str, baseline: Observed, candidate: Observed, seed: int) -> list[Value]:
    """The figures of a metric, called `key`; none where it observed nothing of one of the two."""
    if not baseline.rounds.get(key) or not candidate.rounds.get(key):
        return []
    return metric.compare(baseline.rounds[key], candidate.rounds[key], seed)


@dataclass(frozen=True)
class Measuring:
    """Runs metrics on models.

    Observations of quality are facts about a model's bytes, the data and the versions, so the store keeps
    them (`store` None: it does not), unless `before_keeping` raises. Speed and memory are always measured
    afresh. `busy` fills with metrics of speed during which other processes used a good share of the CPUs,
    `clocks` with what the target's GPU ran at, after each round of each.
    """

    registry: Registry
    datasets: Mapping[str, Dataset]
    target: Target
    seed: int
    logs: Path
    store: Store | None = None
    say: Listener = lambda text: None
    before_keeping: Callable[[], None] = lambda: None
    busy: dict[str, float] = field(default_factory=dict)
    clocks: dict[str, list[Clock]] = field(default_factory=dict)

    def observe(self, models: Mapping[str, Model], metrics: Mapping[str, Metric]) -> dict[str, Observed]:
        """Observe every model with every metric that serves it, by model name."""
        observed = {name: Observed() for name in models}
        groups = {
            group: {key: metric for key, metric in metrics.items() if metric.group == group}
            for group in ("quality", "alone", "speed")
        }
        for name, model in models.items():
            self._quality(name, model, groups["quality"], observed[name])
            for key, metric in groups["alone"].items():
                self.say(f"measuring {key} of {name}")
                self._once(name, model, {key: metric}, observed[name])
        if groups["speed"]:
            self._in_turns(models, groups["speed"], observed)
        return observed

    def _quality(self, name: str, model: Model, metrics: dict[str, Metric], observed: Observed) -> None:
        missing = dict(metrics)
        for key, metric in metrics.items():
            folder = self.store.evidence(self._key(model, metric)) if self.store else None
            if folder:
                facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
                observed.rounds[key] = [read_observation(folder, str(i)) for i in range(facts["rounds"])]
                observed.note(facts["result"])
                observed.from_store.add(key)
                del missing[key]
        if missing:
            self.say(f"measuring {', '.join(missing)} of {name}")
            self._once(name, model, missing, observed)

    def _once(self, name: str, model: Model, metrics: dict[str, Metric], observed: Observed) -> None:
        with tempfile.TemporaryDirectory(prefix="modelwright-") as scratch:
            payload = self._job(model, metrics, Path(scratch), in_turns=False)
            counts: dict[str, int] = {}

            def note(message: Message) -> None:
                if message["kind"] == "finished":
                    counts[message["metric"]] = message["rounds"]

            with self._worker(payload, name) as worker:
                result = worker.result(note)["result"]
            observed.note(result)
            self.before_keeping()
            for key, count in counts.items():
                observed.rounds[key] = [read_observation(Path(scratch), f"{key}-{i}") for i in range(count)]
                if self.store and metrics[key].group == "quality":
                    self._keep(self._key(model, metrics[key]), Path(scratch), key, count, result)

    def _in_turns(
        self, models: Mapping[str, Model], metrics: dict[str, Metric], observed: dict[str, Observed]
    ) -> None:
        with ExitStack() as stack:
            workers: dict[str, Worker] = {}
            folders: dict[str, Path] = {}
            for name, model in models.items():
                folders[name] = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="modelwright-")))
                payload = self._job(model, metrics, folders[name], in_turns=True)
                workers[name] = stack.enter_context(self._worker(payload, name))
            for worker in workers.values():
                worker.command(NEXT)
                worker.receive()
            pids = [worker.pid for worker in workers.values()]
            for key in metrics:
                before = load.read(pids)
                turn = 0
                running = list(workers)
                while running:
                    turn += 1
                    self.say(f"measuring {key}, round {turn}")
                    # Who goes first alternates, so that a drift of the machine favours neither.
                    for name in running if turn % 2 else running[::-1]:
                        workers[name].command(NEXT)
                        message = workers[name].receive()
                        if message["kind"] == "finished":
                            running = [other for other in running if other != name]
                        else:
                            file = f"{key}-{message['index']}"
                            observed[name].rounds.setdefault(key, []).append(
                                read_observation(folders[name], file)
                            )
                            self._note_clock(key)
                self._note_load(key, load.others(before, load.read(pids)))
            for name, worker in workers.items():
                observed[name].note(worker.result()["result"])

    def _note_load(self, key: str, share: float | None) -> None:
        if share is not None and share > load.QUIET_SHARE:
            self.busy[key] = share
            self.say(f"other processes used {share:.0%} of the CPUs while {key} was measured")

    def _note_clock(self, key: str) -> None:
        found = clock(gpus()[0].bus) if self.target.device == "cuda" and gpus() else None
        if found is not None:
            self.clocks.setdefault(key, []).append(found)

    def _worker(self, payload: dict[str, object], name: str) -> Worker:
        log = self.logs / "validation" / f"{name}.txt"
        threads = self.target.thread_count
        return Worker(HANDLER, payload, log=log, threads=threads, what=f"Measuring '{name}'")

    def _job(
        self, model: Model, metrics: dict[str, Metric], out: Path, *, in_turns: bool
    ) -> dict[str, object]:
        return job(model, metrics, dict(self.datasets), self.target, self.seed, out, in_turns=in_turns)

    def _key(self, model: Model, metric: Metric) -> str:
        format_ = self.registry.formats[model.spec.format]
        return digest_json(
            {
                "model": model.digest,
                "spec": model.spec.model_dump(mode="json"),
                "metric": [metric.name, metric.model_dump(mode="json"), source_digest(type(metric))],
                "data": {name: self.datasets[name].digest() for name in metric.data_names()},
                "core": core_versions(),
                "format": [format_.name, format_.versions(), source_digest(format_)],
                "target": self.target.model_dump(mode="json"),
                "hardware": fingerprint(),
                "seed": self.seed,
            }
        )

    def _keep(self, key: str, scratch: Path, metric: str, count: int, result: dict[str, Any]) -> None:
        assert self.store is not None
        with self.store.lock(key):
            if self.store.evidence(key):
                return
            with self.store.keep_evidence(key) as folder:
                for index in range(count):
                    for suffix in (".json", ".npz"):
                        source = scratch / f"{metric}-{index}{suffix}"
                        if source.exists():
                            (folder / f"{index}{suffix}").write_bytes(source.read_bytes())
                facts = {"rounds": count, "result": result}
                (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
