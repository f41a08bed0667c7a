"""The recipe as it is written, before names are looked up. Strict: unknown keys are refused."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    field_validator,
    model_validator,
)

from modelwright.api.model import Pooling
from modelwright.api.target import Target

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
RESERVED_STEPS = ("baseline", "candidate")
CONDITIONS = ("at_least", "at_most", "drop_at_most", "rise_at_most", "faster_by", "smaller_by")


def _not_reserved(name: str) -> str:
    if name in RESERVED_STEPS:
        raise ValueError("validation calls a model of its own so")
    return name


# Names of steps, data sets and gates become names of files and parts of override keys.
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=100)]
StepName = Annotated[Name, AfterValidator(_not_reserved)]


class Strict(BaseModel):
    """Base of every part of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class ModelSource(Strict):
    """The checkpoint that comes in.

    `path` is a folder, `pkg://package/folder` (inside an installed package) or a hub id. `dtype` and
    `device_map` are those of `from_pretrained`; null keeps what the checkpoint has. `pooling`, `normalize`
    and `max_length` replace what the folder says. `cache` is the kind of KV cache that the input model runs
    with; null leaves it to its runtime.
    """

    path: str = Field(min_length=1)
    format: str | None = None
    revision: str | None = None
    dtype: str | None = Field(None, pattern="^(float32|float16|bfloat16)$")
    device_map: str | None = None
    cache: str | None = Field(None, pattern="^(dynamic|static|quantized)$")
    pooling: Pooling | None = None
    normalize: bool | None = None
    max_length: int | None = Field(None, ge=1)
    trust_remote_code: bool = False


class Use(BaseModel):
    """Something looked up by name, with parameters that its own class validates."""

    model_config = ConfigDict(frozen=True, extra="allow")

    use: str

    @property
    def parameters(self) -> dict[str, JsonValue]:
        """The parameters as written."""
        return dict(self.model_extra or {})


class StepUse(Use):
    """A step: the stage it uses, and the step it follows when it is not the one written before it."""

    after: str | None = None


class Amount(Strict):
    """A change: relative (`2%`) or in the metric's own unit (`0.01`)."""

    value: float = Field(ge=0)
    relative: bool

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, raw: Any) -> Any:
        if isinstance(raw, dict):
            return raw
        text = str(raw).strip()
        relative = text.endswith("%")
        try:
            # Decimal, so that what is written out is read back as the very same number.
            number = Decimal(text.removesuffix("%")) / (100 if relative else 1)
        except InvalidOperation as error:
            raise ValueError("give a share such as 2% or a number such as 0.01") from error
        return {"value": float(number), "relative": relative}

    def __str__(self) -> str:
        exact = Decimal(repr(self.value)) * (100 if self.relative else 1)
        return f"{exact.normalize():f}{'%' if self.relative else ''}"


class Gate(Strict):
    """A condition that a figure must meet, or nothing is published.

    `metric` is a figure such as `latency.p50`; `at` and `data` pick one of several. Conditions, judged at
    the pessimistic end of the 95 % interval: `at_least`, `at_most` (the candidate's own value),
    `drop_at_most`, `rise_at_most` (change from the baseline, `2%` or absolute), `faster_by`, `smaller_by`
    (times better than the baseline).
    """

    metric: str = Field(pattern=r"^[a-z_0-9]+\.[A-Za-z_0-9.]+$")
    at: dict[str, int | str] = {}
    data: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    drop_at_most: Amount | None = None
    rise_at_most: Amount | None = None
    faster_by: float | None = Field(None, gt=0)
    smaller_by: float | None = Field(None, gt=0)

    @field_validator(*CONDITIONS, mode="before")
    @classmethod
    def _has_value(cls, raw: Any) -> Any:
        if raw is None:
            raise ValueError("a condition needs a value; remove it to ask for less")
        return raw

    @model_validator(mode="after")
    def _has_condition(self) -> Gate:
        if not self.conditions:
            raise ValueError(f"a gate needs a condition: one of {', '.join(CONDITIONS)}")
        return self

    @property
    def conditions(self) -> dict[str, float | Amount]:
        """The conditions that are set."""
        return {name: value for name in CONDITIONS if (value := getattr(self, name)) is not None}


class Validation(Strict):
    """What is measured, and which figures gate the release.

    With `allow_unmeasured` gates that need the model to run do not close for a target that runs nothing here.
    """

    metrics: dict[str, dict[str, JsonValue]] = {}
    gates: dict[Name, Gate] = {}
    allow_unmeasured: bool = False


class RecipeText(Strict):
    """A composed recipe. Steps run in the order written.

    A null entry is refused: a gate whose value got lost must not vanish. `~KEY` removes one.
    """

    name: str = Field(pattern=NAME_PATTERN, max_length=100)
    description: str = ""
    seed: int = Field(0, ge=0)
    model: ModelSource
    target: Target = Target()
    data: dict[Name, Use] = {}
    stages: dict[StepName, StepUse] = Field(min_length=1)
    validate_: Validation = Field(Validation(), alias="validate")
    publish: Use = Use(use="local")

    @field_validator("name")
    @classmethod
    def _not_a_folder(cls, name: str) -> str:
        if name in ("runs", "sweeps"):
            raise ValueError("this name is taken by a folder of modelwright's own")
        return name


RECIPE_KEYS = tuple(field.alias or name for name, field in RecipeText.model_fields.items())
