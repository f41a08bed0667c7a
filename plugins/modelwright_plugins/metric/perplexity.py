"""How well a language model predicts text that it has not seen."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, JsonValue, model_validator

from modelwright.api.metric import Interval, Metric, MetricContext, Observation, Value
from modelwright.api.model import Model
from modelwright.api.runner import GenerationRunner, Runner, Tokens
from modelwright.errors import RecipeError
from modelwright.statistics import ratio_of_sums, relative_change
from modelwright_plugins.metric.running_text import RunningText, running_text
from modelwright_plugins.metric.sliding_windows import sliding_windows
from modelwright_plugins.text.finite import require_finite

Counts = NDArray[np.float64]
# Logits held at once, 64 MiB in float32.
MOST_LOGITS = 2**24


class Perplexity(Metric, name="perplexity", figures=("value", "bits_per_byte"), tasks=("generate",)):
    """Perplexity of a data set's test split as running text, and bits per byte of its UTF-8.

    ::

        perplexity: {data: docs, length: 512, stride: 256, tokens: 16384}

    Records stand one after the other, the end-of-text token before each. Windows of `length` tokens advance
    by `stride`; each judges the tokens that none before it did, so that all but those of the first window
    have `length` - `stride` tokens or more before them. Every token but the very first is judged once; bits
    per byte count what the end-of-text tokens cost. A model whose context is shorter than `length` has
    windows of its context, which advance by half of it at most.

    Intervals are of a bootstrap over windows, paired for the difference. Models that split the text into
    other tokens are compared by bits per byte alone, over the records both read, drawn by record; models
    that need other windows, one having a shorter context, are not compared.
    """

    data: str = Field(description="The data set whose test split is read.")
    length: int = Field(512, ge=2, le=1_048_576, description="Tokens in a window.")
    stride: int = Field(256, ge=1, le=1_048_576, description="Tokens that a window is ahead of the last.")
    tokens: int = Field(16_384, ge=3, description="Tokens at most, from the start of the split.")

    @model_validator(mode="after")
    def _windows_overlap(self) -> Perplexity:
        if self.stride >= self.length:
            raise ValueError("stride must be smaller than length, or windows begin without a token before")
        return self

    def observe(self, model: Model, runner: Runner | None, ctx: MetricContext) -> Iterator[Observation]:
        """One round: nats per token, of shape [tokens - 1], with the window and record of each."""
        assert isinstance(runner, GenerationRunner)
        length = min(self.length, model.spec.max_length)
        stride = self.stride if length == self.length else min(self.stride, max(1, length // 2))
        text = running_text(runner, model.spec, ctx.data(self.data, self.split), self.tokens)
        ids = text.ids
        starts, counts = sliding_windows(len(ids), length, stride)
        if len(starts) < 2:
            raise RecipeError(
                f"The text has {len(ids):,} tokens, which is one window; an interval takes two.",
                where=f"validate.metrics.{self.name}.length",
                accepted=f"windows shorter than {len(ids):,} tokens",
                hint="set a smaller length, more tokens, or a data set with more text",
            )
        rows = [ids[start : start + length] for start in starts]
        losses = self._losses(runner, rows, _batch(model, runner, length))
        require_finite(losses, model.spec.format, model.spec.dtype, "windows")
        yield {
            "nats": np.concatenate([row[-count:] for row, count in zip(losses, counts, strict=True)]),
            "windows": np.repeat(np.arange(len(counts)), counts),
            "records": text.records[1:],
            "bytes": np.array([len(part.encode()) for part in text.texts]),
            "texts": _digests(text),
            "digest": text.digest,
            "length": length,
            "stride": stride,
        }

    def _losses(self, runner: GenerationRunner, rows: Sequence[Tokens], size: int) -> NDArray[np.float32]:
        batches = [rows[first : first + size] for first in range(0, len(rows), size)]
        return np.concatenate([runner.loss(runner.batch([row.tolist() for row in rows])) for rows in batches])

    def compare(
        self, baseline: Sequence[Observation], candidate: Sequence[Observation], seed: int
    ) -> list[Value]:
        """Perplexity and bits per byte; differences where the same text was judged."""
        before, after = baseline[0], candidate[0]
        if (before["length"], before["stride"]) != (after["length"], after["stride"]):
            return [self._perplexity(None, after, seed), self._bits(None, after, seed)]
        if before["digest"] != after["digest"]:
            return [self._perplexity(None, after, seed), self._bits_by_record(before, after, seed)]
        return [self._perplexity(before, after, seed), self._bits(before, after, seed)]

    def _perplexity(self, before: Observation | None, after: Observation, seed: int) -> Value:
        counts = _sums(after, "windows", None)
        ours = _sums(after, "windows", "nats")
        candidate = _each(ratio_of_sums(ours, counts, seed), _exp)
        if before is None:
            return self._value("value", "", after, seed, candidate, None, None)
        theirs = _sums(before, "windows", "nats")
        baseline = _each(ratio_of_sums(theirs, counts, seed), _exp)
        difference = relative_change(_each(ratio_of_sums(ours - theirs, counts, seed), _exp))
        return self._value("value", "", after, seed, candidate, baseline, difference)

    def _bits(self, before: Observation | None, after: Observation, seed: int) -> Value:
        # The bytes of a window are not known, nor needed: the bytes per token of one text are a constant.
        sizes = _sums(after, "windows", None) * (after["bytes"].sum() / len(after["nats"]))
        theirs = None if before is None else _sums(before, "windows", "nats")
        return self._bits_value(theirs, _sums(after, "windows", "nats"), sizes, after, seed)

    def _bits_by_record(self, before: Observation, after: Observation, seed: int) -> Value:
        pairs = zip(before["texts"], after["texts"], strict=False)
        common = sum(mine == yours for mine, yours in pairs)
        if common < 2:
            return self._bits(None, after, seed)
        theirs, ours = (_sums(found, "records", "nats")[:common] for found in (before, after))
        return self._bits_value(theirs, ours, after["bytes"][:common], after, seed)

    def _bits_value(
        self, theirs: Counts | None, ours: Counts, sizes: Counts, after: Observation, seed: int
    ) -> Value:
        return self._value(
            "bits_per_byte",
            "bits/byte",
            after,
            seed,
            candidate=_each(ratio_of_sums(ours, sizes, seed), _bits),
            baseline=None if theirs is None else _each(ratio_of_sums(theirs, sizes, seed), _bits),
            difference=None if theirs is None else relative_change(ratio_of_sums(ours, theirs, seed)),
        )

    def _value(
        self,
        figure: str,
        unit: str,
        after: Observation,
        seed: int,
        candidate: Interval,
        baseline: Interval | None,
        difference: Interval | None,
    ) -> Value:
        protocol: dict[str, JsonValue] = {
            "length": after["length"],
            "stride": after["stride"],
            "tokens": len(after["nats"]) + 1,
            "digest": after["digest"],
            "records": len(after["texts"]),
            "split": self.split,
            "seed": seed,
        }
        return Value(
            name=f"perplexity.{figure}",
            data=self.data,
            unit=unit,
            better="lower",
            candidate=candidate,
            baseline=baseline,
            difference=difference,
            protocol=protocol,
        )


def _batch(model: Model, runner: GenerationRunner, length: int) -> int:
    vocabulary = model.spec.generation.vocabulary if model.spec.generation else 1
    fits = max(1, MOST_LOGITS // (length * vocabulary))
    return min(fits, runner.max_batch or fits)


def _digests(text: RunningText) -> list[str]:
    return [hashlib.sha256(part.encode()).hexdigest() for part in text.texts]


def _sums(found: Observation, by: str, key: str | None) -> Counts:
    """The sum of `key` over the tokens of each window or record; how many tokens, for None."""
    return np.asarray(np.bincount(found[by], None if key is None else found[key]), np.float64)


def _each(interval: Interval, change: Callable[[float], float]) -> Interval:
    return Interval(value=change(interval.value), low=change(interval.low), high=change(interval.high))


def _exp(nats: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.exp(nats))


def _bits(nats: float) -> float:
    return nats / math.log(2)
