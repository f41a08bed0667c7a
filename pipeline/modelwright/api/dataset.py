"""Data that stages calibrate on and metrics measure with."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal, TypedDict

from modelwright.api.component import Component

Split = Literal["train", "calibration", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "calibration", "validation", "test")


class Record(TypedDict, total=False):
    """One example. A data set fills the columns that it declares."""

    text: str
    query: str
    passage: str
    label: str


class Dataset(Component):
    """A named source of text, cut into splits that never overlap.

    >>> docs = PythonDocs()
    >>> docs.load("calibration")[0]["passage"]

    `check` runs in the plan: it raises RecipeError or MissingError when the data cannot be read, and reads
    no more than it must. `digest` identifies the content and enters the key of every step that uses it.
    `columns` are those of `Record` that every example has.
    """

    @abstractmethod
    def check(self) -> None:
        """Raise unless the data can be read here."""

    @abstractmethod
    def digest(self) -> str:
        """SHA-256 in hex that changes when the content does."""

    @abstractmethod
    def columns(self) -> frozenset[str]:
        """The columns every record has."""

    @abstractmethod
    def load(self, split: Split) -> list[Record]:
        """The records of one split, in a fixed order. Raises RecipeError when the split is empty."""


def text_of(record: Record) -> str:
    """A record as one running text: its text, or its passage, or its query."""
    return record.get("text") or record.get("passage") or record.get("query") or ""
