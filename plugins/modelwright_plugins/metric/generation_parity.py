"""How equal two language models are: in their logits, and in what they generate."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, JsonValue

from modelwright.api.dataset import Record, text_of
from modelwright.api.metric import Direction, Interval, Metric, MetricContext, Observation, Value
from modelwright.api.model import Model, ModelSpec
from modelwright.api.runner import Floats, GenerationRunner, Runner
from modelwright.errors import RecipeError
from modelwright.statistics import mean_interval, ratio_of_sums
from modelwright_plugins.metric.greedy import first_divergences, greedy
from modelwright_plugins.metric.parity import kl_rows
from modelwright_plugins.text.finite import require_finite

Rows = list[list[int]]
# Logits kept of each batch size, 96 MB in float32: those of two are compared in one process.
MOST_LOGITS = 24_000_000
AT_ONCE = 64


class GenerationParity(
    Metric,
    name="generation_parity",
    figures=(
        *("logits_max_error", "kl", "top1"),
        *("equal_tokens", "equal_prompts", "first_divergence", "first_divergence_median"),
    ),
    tasks=("generate",),
):
    """Logits at every position of prompts, and greedy generation, against the baseline's.

    ::

        generation_parity: {data: docs, prompts: 8, length: 64, new_tokens: 64, batch: 4}

    Prompts are the first records with `length` tokens, cut to different lengths up to it. The model runs
    them one by one (`at: {batch: 1}`) and in batches padded on the left (`at: {batch: 4}`, or what the
    runtime takes at most); both are compared with the baseline one by one, so that padding has to change
    nothing.

    `logits_max_error` is the largest absolute difference; `kl` is KL(baseline ‖ candidate) in nats, and
    `top1` the share of equal most likely tokens, over positions. Generation goes on for `new_tokens`, past
    ends of text: `equal_tokens` is the share of tokens that equal the baseline's at the same place,
    `equal_prompts` that of prompts continued wholly alike. `first_divergence` is how many tokens are alike
    before the first that differs (`new_tokens` where none does), of the worst prompt; with `_median`, of the
    middle one. Where vocabulary times positions is beyond 24 million, logits are compared at fewer
    positions, spread evenly. Models of different tokenizers or vocabularies are not compared.
    """

    data: str = Field(description="The data set whose test split gives the prompts.")
    prompts: int = Field(8, ge=2, le=4096, description="Prompts, from the start of the split.")
    length: int = Field(64, ge=1, le=65_536, description="Tokens of the longest prompts.")
    new_tokens: int = Field(64, ge=1, le=65_536, description="Tokens to generate after each.")
    batch: int = Field(4, ge=1, le=4096, description="Prompts per padded batch; 1 leaves padding out.")

    def grid(self, spec: ModelSpec) -> dict[str, tuple[int, ...]]:
        """One by one, and padded in a batch."""
        return {"batch": (1, self.batch)}

    def check(self, spec: ModelSpec) -> None:
        """Prompt and new tokens have to fit the context."""
        if self.length + self.new_tokens > spec.max_length:
            raise RecipeError(
                f"Prompts of {self.length:,} tokens and {self.new_tokens:,} new ones are longer than the "
                f"model's context of {spec.max_length:,}.",
                where=f"validate.metrics.{self.name}",
                accepted=f"length and new_tokens of at most {spec.max_length:,} together",
            )

    def observe(self, model: Model, runner: Runner | None, ctx: MetricContext) -> Iterator[Observation]:
        """One round: logits [positions, vocabulary] and tokens [prompts, new_tokens], alone and padded."""
        assert isinstance(runner, GenerationRunner)
        rows = self._prompts(runner, ctx.data(self.data, self.split))
        prompts = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        vocabulary = model.spec.generation.vocabulary if model.spec.generation else 1
        kept = _spread(len(prompts), MOST_LOGITS // vocabulary)
        batch = min(self.batch, runner.max_batch or self.batch)
        found: dict[str, object] = {
            "prompts": prompts[kept],
            "positions": len(prompts),
            "batch": batch,
            "digest": hashlib.sha256(repr(rows).encode()).hexdigest(),
        }
        for size in {1, batch}:
            logits = _teacher_forced(runner, rows, size, kept)
            require_finite(logits, model.spec.format, model.spec.dtype, "positions")
            found[f"logits_{size}"] = logits
            found[f"tokens_{size}"] = greedy(runner, rows, size, self.new_tokens)
        yield found

    def _prompts(self, runner: GenerationRunner, records: Sequence[Record]) -> Rows:
        """Token ids of the prompts, the lengths of which go round from one part in `batch` to the whole."""
        rows: Rows = []
        for first in range(0, len(records), AT_ONCE):
            texts = [text_of(record) for record in records[first : first + AT_ONCE]]
            rows += [row for row in runner.encode(texts) if len(row) >= self.length]
            if len(rows) >= self.prompts:
                parts = [index % self.batch + 1 for index in range(self.prompts)]
                return [
                    row[: -(-self.length * part // self.batch)]
                    for row, part in zip(rows, parts, strict=False)
                ]
        raise RecipeError(
            f"Only {len(rows):,} texts of the data set have {self.length:,} tokens.",
            where=f"data set '{self.data}', split {self.split}",
            accepted=f"{self.prompts:,} texts",
            hint=f"set validate.metrics.{self.name}.length or prompts lower",
        )

    def compare(
        self, baseline: Sequence[Observation], candidate: Sequence[Observation], seed: int
    ) -> list[Value]:
        """Figures for each batch size; none for other prompts or another vocabulary."""
        before, after = baseline[0], candidate[0]
        if before["digest"] != after["digest"] or before["logits_1"].shape != after["logits_1"].shape:
            return []
        return [
            value
            for size in dict.fromkeys((1, after["batch"]))
            for value in (
                *self._of_logits(before, after, size, seed),
                *self._of_tokens(before, after, size, seed),
            )
        ]

    def _of_logits(self, before: Observation, after: Observation, size: int, seed: int) -> Iterator[Value]:
        theirs, ours = before["logits_1"], after[f"logits_{size}"]
        error, divergence = 0.0, np.empty(len(theirs))
        for first in range(0, len(theirs), AT_ONCE):  # in float64, of all, it would take gigabytes
            part = slice(first, first + AT_ONCE)
            error = max(error, float(np.abs(ours[part] - theirs[part]).max()))
            divergence[part] = kl_rows(theirs[part], ours[part])
        same = theirs.argmax(axis=1) == ours.argmax(axis=1)
        # Positions of a prompt depend on one another, so prompts are drawn.
        counts = np.bincount(after["prompts"], minlength=self.prompts)
        there = counts > 0
        sums = [np.bincount(after["prompts"], item, self.prompts)[there] for item in (divergence, same)]
        kl, top1 = (ratio_of_sums(item, counts[there], seed) for item in sums)
        protocol: dict[str, JsonValue] = {"positions": len(theirs), "of_positions": after["positions"]}
        yield self._value("logits_max_error", Interval.exactly(error), "lower", size, "", protocol)
        yield self._value("kl", kl, "lower", size, "nats", protocol)
        yield self._value("top1", top1, "higher", size, "", protocol)

    def _of_tokens(self, before: Observation, after: Observation, size: int, seed: int) -> Iterator[Value]:
        same = before["tokens_1"] == after[f"tokens_{size}"]
        alike = first_divergences(before["tokens_1"], after[f"tokens_{size}"])
        whole = float(same.all(axis=1).mean())
        middle, least = float(np.median(alike)), float(alike.min())
        protocol: dict[str, JsonValue] = {"new_tokens": same.shape[1]}
        shares = mean_interval(same.mean(axis=1), seed)
        yield self._value("equal_tokens", shares, "higher", size, "", protocol)
        yield self._value("equal_prompts", Interval.exactly(whole), "higher", size, "", protocol)
        yield self._value("first_divergence", Interval.exactly(least), "higher", size, "tokens", protocol)
        yield self._value(
            "first_divergence_median", Interval.exactly(middle), "higher", size, "tokens", protocol
        )

    def _value(
        self,
        figure: str,
        interval: Interval,
        better: Direction,
        batch: int,
        unit: str,
        protocol: dict[str, JsonValue],
    ) -> Value:
        return Value(
            name=f"generation_parity.{figure}",
            at={"batch": batch},
            data=self.data,
            unit=unit,
            better=better,
            candidate=interval,
            protocol={"prompts": self.prompts, "length": self.length, "split": self.split, **protocol},
        )


def _spread(count: int, most: int) -> NDArray[np.int64]:
    """All of `count` positions, or at most `most` of them at even distances."""
    return np.unique(np.linspace(0, count - 1, min(count, max(most, 1))).round().astype(np.int64))


def _teacher_forced(runner: GenerationRunner, rows: Rows, size: int, kept: NDArray[np.int64]) -> Floats:
    """Logits at the kept positions of all rows, of shape [kept, vocabulary]."""
    found, before = [], 0
    for first in range(0, len(rows), size):
        group = rows[first : first + size]
        logits = runner.logits(runner.batch(group))
        for row, of_row in zip(group, logits, strict=True):
            inside = kept[(kept >= before) & (kept < before + len(row))] - before
            found.append(of_row[of_row.shape[0] - len(row) + inside])
            before += len(row)
    return np.concatenate(found).astype(np.float32, copy=False)
