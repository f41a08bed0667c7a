"""Errors a user can act on: what is wrong, where, what is accepted, what to do next.

Each class carries the exit code the command line ends with. Anything else that is raised is a defect and
keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, ClassVar


class ModelwrightError(Exception):
    """An expected failure, printed as one block and never as a traceback.

    `what` is one sentence. `where` names the file, key or plugin. `accepted` says which values would do.
    `hint` is the next step to take.
    """

    exit_code: ClassVar[int] = 3

    def __init__(
        self, what: str, *, where: str | None = None, accepted: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.accepted = accepted
        self.hint = hint

    def __str__(self) -> str:
        labelled = (("where", self.where), ("accepted", self.accepted), ("next", self.hint))
        return "\n".join([self.what, *(f"  {label}: {text}" for label, text in labelled if text)])

    def to_dict(self) -> dict[str, Any]:
        """Plain data that `from_dict` turns back into the same error in another process."""
        return {
            "kind": next(cls.__name__ for cls in type(self).__mro__ if cls in _KINDS),
            "what": self.what,
            "where": self.where,
            "accepted": self.accepted,
            "hint": self.hint,
        }

    @staticmethod
    def from_dict(data: dict[str, Any]) -> ModelwrightError:
        """The error `to_dict` described."""
        cls = next(cls for cls in _KINDS if cls.__name__ == data["kind"])
        return cls(data["what"], where=data["where"], accepted=data["accepted"], hint=data["hint"])


class RecipeError(ModelwrightError):
    """The recipe, its input or the command line is wrong (exit 2)."""

    exit_code = 2


class StageError(ModelwrightError):
    """A stage failed while it ran (exit 3)."""

    exit_code = 3


class MissingError(ModelwrightError):
    """Something is missing on this machine: a package, a device, data (exit 4)."""

    exit_code = 4


# What crosses a process boundary; a plugin's own subclass arrives as the nearest of these.
_KINDS = (RecipeError, StageError, MissingError, ModelwrightError)


def did_you_mean(word: str, options: Iterable[str]) -> str | None:
    """A hint naming the option nearest to `word`, or None when nothing is near.

    >>> did_you_mean("quantise", ["quantize", "export"])
    "did you mean 'quantize'?"
    """
    near = difflib.get_close_matches(word, list(options), n=1, cutoff=0.55)
    return f"did you mean '{near[0]}'?" if near else None
