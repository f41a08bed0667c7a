"""What a KV cache takes in memory, and from which length of text it saves time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, JsonValue

from modelwright.api.metric import Interval, Metric, MetricContext, Observation, Value
from modelwright.api.model import Model, ModelSpec
from modelwright.api.runner import GenerationRunner, Runner
from modelwright.statistics import median_interval
from modelwright_plugins.metric.cells import Cell, Count, by_cell, cells_that_fit, require_a_length
from modelwright_plugins.metric.crossover import crossover
from modelwright_plugins.metric.decode import WARM_UP, step_times
from modelwright_plugins.metric.memory import bytes_value
from modelwright_plugins.metric.speed import repeated, speed_value

CACHED, RECOMPUTED, PREFILL, BYTES, FORMULA = range(5)


class KvCache(
    Metric,
    name="kv_cache",
    group="speed",
    figures=("bytes", "bytes_by_formula", "ms_per_token", "crossover"),
    tasks=("generate",),
):
    """Bytes of the KV cache, time per new token with it and without, and where the two cross.

    ::

        kv_cache: {batch: 1, length: [1, 16, 64, 256, 512], rounds: 3}

    `bytes` are those that the runtime holds after a prompt of `length` tokens, where it tells;
    `bytes_by_formula` are elements per token x bytes of one in the cache x batch x tokens, of which a sliding
    window keeps no more than its own.

    `ms_per_token` at `decoding: cached` is the median of `steps` steps that follow a text of `length`
    tokens; at `decoding: recomputed`, that of running the whole text again. `crossover` is the length of
    text in tokens from which on the cache has paid: a text that begins with a prompt of the shortest length
    is then ready sooner with the cache, filling it included. Between measured lengths times are
    interpolated. There is no crossover where, in a round, the cache has not paid up to the longest length.
    """

    batch: int = Field(1, ge=1, le=65_536, description="Texts in the batch.")
    length: tuple[Count, ...] = Field((1, 16, 64, 256, 512), min_length=1, description="Tokens of the text.")
    steps: int = Field(8, ge=2, le=65_536, description="Steps with the cache per length and round.")
    least: int = Field(2, ge=1, description="Runs without the cache per length and round.")
    rounds: int = Field(3, ge=3, description="Turns each model takes.")

    def check(self, spec: ModelSpec) -> None:
        """At least one length has to fit the context with the steps that follow."""
        require_a_length(self.name, self.length, spec, self._room)

    @property
    def _room(self) -> int:
        return WARM_UP + self.steps

    def observe(self, model: Model, runner: Runner | None, ctx: MetricContext) -> Iterator[Observation]:
        """A round yields, per length, ms per token cached and recomputed, ms of prefill, and bytes."""
        assert isinstance(runner, GenerationRunner)
        lengths = sorted(set(self.length))
        cells = cells_that_fit((self.batch,), lengths, model.spec, runner, self._room)
        for _ in range(self.rounds):
            rows = [[*cell, *self._round(runner, model.spec, cell, ctx.seed)] for cell in cells]
            yield {"cells": np.array(rows, dtype=np.float64)}

    def _round(self, runner: GenerationRunner, spec: ModelSpec, cell: Cell, seed: int) -> list[float]:
        inputs = runner.sample(*cell, seed=seed)
        held = runner.start(inputs, 0).cache_bytes()  # warms up as well
        recomputed = repeated(lambda: runner.infer(inputs), least=self.least)
        prefill = repeated(lambda: runner.start(inputs, self._room), least=self.least)
        cached = step_times(runner, cell, self.steps, seed)
        formula = formula_bytes(spec, runner.cache_item_bytes, *cell)
        return [
            *(float(np.median(times)) for times in (cached, recomputed, prefill)),
            *(float("nan") if count is None else count for count in (held, formula)),
        ]

    def compare(
        self, baseline: Sequence[Observation], candidate: Sequence[Observation], seed: int
    ) -> list[Value]:
        """Bytes and times per length, and the crossover."""
        before, after = by_cell(baseline), by_cell(candidate)
        crossed = _crossover(after, seed)
        protocol: dict[str, JsonValue] = {"rounds": len(candidate), "steps": self.steps, "runs": self.least}
        if crossed is None and after:
            protocol["crossover"] = f"none up to {max(after)[1]:,} tokens"
        values = [
            value
            for cell in after
            for value in (
                _bytes("bytes", cell, BYTES, before, after),
                _bytes("bytes_by_formula", cell, FORMULA, before, after),
            )
            if value is not None
        ]
        values += [
            speed_value(
                "kv_cache.ms_per_token",
                "ms",
                {"batch": cell[0], "length": cell[1], "decoding": decoding},
                before[cell][:, column],
                after[cell][:, column],
                seed,
                protocol,
            )
            for decoding, column in (("cached", CACHED), ("recomputed", RECOMPUTED))
            for cell in after
            if cell in before
        ]
        if crossed is not None:
            values.append(
                Value(
                    name="kv_cache.crossover",
                    at={"batch": self.batch},
                    unit="tokens",
                    better="lower",
                    candidate=crossed,
                    baseline=_crossover(before, seed),
                    protocol={**protocol, "from": min(after)[1], "to": max(after)[1]},
                )
            )
        return values


def formula_bytes(spec: ModelSpec, item_bytes: float | None, batch: int, tokens: int) -> int | None:
    """Bytes of keys and values for a batch of texts; None where it is not known what is kept."""
    kept = spec.generation
    if kept is None or kept.cache_elements is None or item_bytes is None:
        return None
    windowed = kept.windowed_elements * min(tokens, kept.window or tokens)
    whole = (kept.cache_elements - kept.windowed_elements) * tokens
    return int((windowed + whole) * item_bytes * batch)


def _crossover(cells: dict[Cell, NDArray[np.float64]], seed: int) -> Interval | None:
    """Of the crossovers of the rounds, which may not be missing."""
    if len(cells) < 2:
        return None
    lengths = [length for _, length in cells]
    found = [
        crossover(lengths, rows[:, CACHED].tolist(), rows[:, RECOMPUTED].tolist(), float(rows[0, PREFILL]))
        for rows in np.stack(list(cells.values()), axis=1)
    ]
    rounds = [length for length in found if length is not None]
    return median_interval(rounds, seed) if len(rounds) == len(found) else None


def _bytes(
    figure: str,
    cell: Cell,
    column: int,
    before: dict[Cell, NDArray[np.float64]],
    after: dict[Cell, NDArray[np.float64]],
) -> Value | None:
    """Bytes as of the last round, beside the baseline's where it tells; None where the candidate does not."""
    ours = after[cell][-1, column]
    theirs = before[cell][-1, column] if cell in before else np.nan
    if np.isnan(ours):
        return None
    name, at = f"kv_cache.{figure}", {"batch": cell[0], "length": cell[1]}
    if theirs > 0 and ours > 0:
        return bytes_value(name, int(theirs), int(ours)).model_copy(update={"at": at})
    return Value(name=name, at=at, unit="bytes", better="lower", candidate=Interval.exactly(int(ours)))
