"""A metric: what is observed of each model, and what the two observations say."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from modelwright.api.component import Component
from modelwright.api.dataset import Record, Split
from modelwright.api.format import Format
from modelwright.api.model import TASKS, Model, ModelSpec, Task
from modelwright.api.runner import Runner
from modelwright.api.target import Target

Direction = Literal["higher", "lower", "exact"]
Observation = Mapping[str, Any]  # plain JSON data and NumPy arrays


class Interval(BaseModel):
    """An estimate and its 95 % confidence interval; the three are equal where nothing varies."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    value: float
    low: float
    high: float

    @classmethod
    def exactly(cls, value: float) -> Interval:
        """An interval of width zero."""
        return cls(value=value, low=value, high=value)


class Value(BaseModel):
    """One figure of a metric, for the baseline and for the candidate.

    `name` is `metric.figure`, such as `latency.p50`; `at` selects one of several (batch, length).
    `difference` is candidate minus baseline as a share of the baseline, paired where the metric can pair.
    `ratio` is how many times better the candidate is (above 1: better).
    `better` says which way is better.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    at: dict[str, int | str] = {}
    data: str | None = None
    unit: str = ""
    better: Direction
    candidate: Interval
    baseline: Interval | None = None
    difference: Interval | None = None
    ratio: Interval | None = None
    noisy: bool = False
    protocol: dict[str, JsonValue] = {}


@dataclass(frozen=True)
class MetricContext:
    """What `Metric.observe` may touch: the target, the seed, the recipe's data, the model's format.

    `gpu_bytes_before` were in use on the GPUs before the model was loaded, where the driver tells.
    """

    target: Target
    seed: int
    format: Format
    records: Mapping[tuple[str, Split], Sequence[Record]]
    gpu_bytes_before: int | None = None

    def data(self, name: str, split: Split) -> Sequence[Record]:
        """The records of a data set that the metric named in a `data` field."""
        return self.records[(name, split)]


class Metric(Component):
    """A measurement of a model, compared with the baseline's.

    `observe` is a generator that runs in a worker process, beside a loaded runner (None where
    `needs_runner` is false). Each `yield` is a round; between rounds the other model takes its turn, so a
    metric of speed yields often and one of quality once. `compare` then runs in the main process on the
    observations of both and returns the figures.

    `group` says which metrics may share a process: `quality`, `speed` (taking turns), or `alone`.
    `data` fields name a data set of the recipe; `columns` are those it must have; `split` the one read.
    `tasks` are those of the models it can measure.
    """

    group: ClassVar[Literal["quality", "speed", "alone"]] = "quality"
    needs_runner: ClassVar[bool] = True
    columns: ClassVar[frozenset[str]] = frozenset()
    split: ClassVar[Split] = "test"
    figures: ClassVar[tuple[str, ...]] = ()
    tasks: ClassVar[tuple[Task, ...]] = TASKS

    def __init_subclass__(
        cls,
        *,
        group: Literal["quality", "speed", "alone"] | None = None,
        needs_runner: bool | None = None,
        columns: frozenset[str] | None = None,
        split: Split | None = None,
        figures: tuple[str, ...] | None = None,
        tasks: tuple[Task, ...] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init_subclass__(**kwargs)
        given = {
            "group": group,
            "needs_runner": needs_runner,
            "columns": columns,
            "split": split,
            "figures": figures,
            "tasks": tasks,
        }
        for key, value in given.items():
            if value is not None:
                setattr(cls, key, value)

    def grid(self, spec: ModelSpec) -> Mapping[str, Sequence[int | str]]:
        """What figures of such a model are measured at, `{"batch": (1, 16), "length": (32, 128)}`.

        A gate's `at` has to name one of each axis that has several, or the plan refuses it. Empty where
        that is not known before.
        """
        return {}

    def check(self, spec: ModelSpec) -> None:
        """Raise RecipeError when such a model cannot be measured. Runs in the plan, on the input's spec."""

    @abstractmethod
    def observe(self, model: Model, runner: Runner | None, ctx: MetricContext) -> Iterator[Observation]:
        """Yield one observation for each round."""

    @abstractmethod
    def compare(
        self, baseline: Sequence[Observation], candidate: Sequence[Observation], seed: int
    ) -> list[Value]:
        """The figures; an interval at 95 %."""
