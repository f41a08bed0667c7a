"""A stage: one transformation of a model, with its parameters."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from modelwright.api.component import Component
from modelwright.api.context import StageContext
from modelwright.api.model import TASKS, Model, ModelSize, ModelSpec, Task
from modelwright.api.target import Target

Fidelity = Literal["exact", "approximate", "retrained"]
MIB = 2**20
ORIGINAL = "original"


class Footprint(BaseModel):
    """What a step is predicted to need: peak memory of its process and disk for its result, in bytes.

    `sizes_known` is false where the shapes of the result's weights show only when the step has run: `result`
    is a guess then, and later steps are not judged by it.
    """

    model_config = ConfigDict(frozen=True)

    memory_bytes: int
    disk_bytes: int
    result: ModelSize
    sizes_known: bool = True


class Stage(Component):
    """One step of a recipe: takes a model in one format, gives one in another, changes nothing in place.

    ::

        class Half(Stage, name="cast.half", takes="torch", gives="torch", fidelity="approximate"):
            \"\"\"Store the weights in half precision.\"\"\"

            keep: tuple[str, ...] = Field((), description="Name patterns that stay as they are.")

            def run(self, model: Model, ctx: StageContext) -> None:
                ...                       # read model.path, write the result into ctx.out

    `takes` and `gives` are names of formats; `tasks` are those of the models it can take. `needs` and
    `refuses` are tags that the model must, or must not, carry, `refuses` with the reason of each where it is
    a mapping; `adds` are put on the result and `drops` taken off it: what the step does not preserve. They
    check an order and never make one. `fidelity` says what parity means after the step: `exact` and
    `approximate` results are compared with the last retrained model (or the input), a `retrained` one is
    judged by its task metric. `measures` marks a stage that decides by measuring, so that its result is kept
    per machine. `target_fields` are those of the target that the result depends on; where it says none, a
    change of any makes the step run again.

    Heavy imports go inside `run`. A field named `data` (or ending in `_data`) names a data set of the
    recipe; the engine makes it readable through `ctx.data`. A stage that reads further models, such as a
    teacher, names them in `model_names`; they enter the key of the step and come in `ctx.models`.
    """

    takes: ClassVar[str] = ""
    gives: ClassVar[str] = ""
    fidelity: ClassVar[Fidelity] = "approximate"
    needs: ClassVar[tuple[str, ...]] = ()
    refuses: ClassVar[Mapping[str, str]] = {}
    adds: ClassVar[tuple[str, ...]] = ()
    drops: ClassVar[tuple[str, ...]] = ()
    measures: ClassVar[bool] = False
    target_fields: ClassVar[tuple[str, ...] | None] = None
    tasks: ClassVar[tuple[Task, ...]] = TASKS

    def __init_subclass__(
        cls,
        *,
        takes: str | None = None,
        gives: str | None = None,
        fidelity: Fidelity | None = None,
        needs: tuple[str, ...] | None = None,
        refuses: tuple[str, ...] | Mapping[str, str] | None = None,
        adds: tuple[str, ...] | None = None,
        drops: tuple[str, ...] | None = None,
        measures: bool | None = None,
        target_fields: tuple[str, ...] | None = None,
        tasks: tuple[Task, ...] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init_subclass__(**kwargs)
        given = {
            "takes": takes,
            "gives": gives,
            "fidelity": fidelity,
            "needs": needs,
            "refuses": dict.fromkeys(refuses, "") if isinstance(refuses, tuple) else refuses,
            "adds": adds,
            "drops": drops,
            "measures": measures,
            "target_fields": target_fields,
            "tasks": tasks,
        }
        if unknown := {*(target_fields or ())} - {*Target.model_fields}:
            raise TypeError(f"target_fields of {cls.__name__} are none of a target: {', '.join(unknown)}")
        for key, value in given.items():
            if value is not None:
                setattr(cls, key, value)

    @abstractmethod
    def run(self, model: Model, ctx: StageContext) -> None:
        """Write the transformed model into `ctx.out`."""

    def depends_on_machine(self) -> bool:
        """Whether these parameters make the result depend on this machine: its speed, its arithmetic."""
        return self.measures

    def tags_after(self, tags: Collection[str]) -> tuple[str, ...]:
        """The tags of the result of a model with these; for a stage whose parameters decide, overridden."""
        return tuple(sorted({*tags} - {*self.drops} | {*self.added_tags()}))

    def added_tags(self) -> Collection[str]:
        """The tags that the result has of this stage; where parameters decide which, overridden."""
        return self.adds

    def dtype_after(self, dtype: str) -> str:
        """The type of the result's weights; for a stage that changes it, overridden."""
        return dtype

    def check(self, spec: ModelSpec) -> None:
        """Raise RecipeError when this stage cannot take such a model; `where` may be `parameter NAME`.

        Runs in the plan, where format, tags and dtype are those of the steps before; the other fields are
        still those of the recipe's input.
        """

    def check_target(self, target: Target) -> None:
        """Raise RecipeError or MissingError when such a target has not what this stage needs; in the plan."""

    def model_names(self) -> Mapping[str, str]:
        """Models to read beside the one that comes in, each by the field that names it.

        A name is what `model.path` accepts, or `original`: the model that the recipe starts from.
        """
        return {}

    def check_models(self, spec: ModelSpec, models: Mapping[str, Model]) -> None:
        """Raise RecipeError when the models of `model_names` do not go with such a model.

        Runs in the plan, as `check` does. `models` also holds the one that the recipe starts from, as
        `original`. Their folders may be read, their digests are not known yet.
        """

    def check_size(self, size: ModelSize) -> None:
        """Raise RecipeError when this stage cannot take a model of these parts; `where` as in `check`.

        Runs in the plan, unless a step before cannot say its sizes. `size` is that of the model that comes
        in, as those steps predict it.
        """

    def footprint(self, size: ModelSize) -> Footprint:
        """Predicted need, from the size of the model that comes in. The default suits a copy in memory."""
        return Footprint(
            memory_bytes=300 * MIB + 3 * size.weight_bytes, disk_bytes=size.weight_bytes, result=size
        )
