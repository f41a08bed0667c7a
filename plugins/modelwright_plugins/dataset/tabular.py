"""The base of data sets that are one file with named columns."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import Field

from modelwright.api.dataset import Dataset, Record, Split
from modelwright.digest import digest_file, digest_json
from modelwright.errors import RecipeError, did_you_mean
from modelwright_plugins.dataset.paths import readable_file
from modelwright_plugins.dataset.splits import SPLITTING, Candidate, Cut, Shares, cut, split_named

log = logging.getLogger(__name__)

Column: TypeAlias = Literal["text", "query", "passage", "label"]
COLUMNS: tuple[Column, ...] = ("text", "query", "passage", "label")
Cells = Mapping[str, object]


class Columns(Dataset):
    """Rows with named columns, wherever they come from: which column is what, and the splits."""

    text: str | None = Field(
        default=None, description="Column of running text. Default: 'text', if there is one."
    )
    query: str | None = Field(
        default=None, description="Column of queries. Default: 'query', if there is one."
    )
    passage: str | None = Field(
        default=None, description="Column of passages. Default: 'passage', if there is one."
    )
    label: str | None = Field(
        default=None, description="Column of class names. Default: 'label', if there is one."
    )
    shares: Shares = Field(default=Shares(), description="Relative sizes of the splits the data lacks.")
    limit: int | None = Field(default=None, ge=1, description="At most this many records of each split.")

    @abstractmethod
    def where(self) -> str:
        """The data set and its source, as errors name them."""

    @abstractmethod
    def header(self) -> list[str]:
        """The names of the columns, read as cheaply as they can be."""

    @abstractmethod
    def cut(self) -> Cut:
        """Every record, by split."""

    def check(self) -> None:
        """Raise unless the source is there and has the columns that are asked for."""
        self.columns()

    def columns(self) -> frozenset[str]:
        """The columns of `Record` that the source has."""
        return frozenset(self.mapping(self.header()))

    def load(self, split: Split) -> list[Record]:
        """The records of one split, ordered by content."""
        return self.cut().take(split, self.limit, self.where())

    def named(self, name: str, parameter: str, header: list[str]) -> str:
        """A column that a parameter names, or RecipeError listing those there are."""
        if name in header:
            return name
        raise RecipeError(
            f"There is no column '{name}'.",
            where=f"{self.where()}, parameter '{parameter}'",
            accepted=", ".join(header),
            hint=did_you_mean(name, header) or f"set `{parameter}` to one of the columns",
        )

    def mapping(self, header: list[str]) -> dict[Column, str]:
        """The source's column for each column of `Record`. Raises RecipeError when none holds text."""
        found: dict[Column, str] = {}
        for column in COLUMNS:
            name: str | None = getattr(self, column)
            if name is not None:
                found[column] = self.named(name, column, header)
            elif column in header:
                found[column] = column
        if not found.keys() - {"label"}:
            raise RecipeError(
                "No column is named 'text', 'query' or 'passage'.",
                where=self.where(),
                accepted=", ".join(header),
                hint=f"say which column holds the text, for example text: {header[0]}",
            )
        return found

    def records(self, rows: Iterable[tuple[str, Cells]], header: list[str]) -> Iterator[tuple[Record, Cells]]:
        """Rows (with the words that place each) as records; rows with an empty cell are left out, counted."""
        mapping = self.mapping(header)
        incomplete = 0
        for place, row in rows:
            record: Record = {}
            for column, name in mapping.items():
                cell = self.cell(row.get(name), name, place)
                if cell:
                    record[column] = cell
            if len(record) == len(mapping):
                yield record, row
            else:
                incomplete += 1
        if incomplete:
            log.warning("%s: rows left out for an empty cell: %d", self.where(), incomplete)

    def cell(self, value: object, name: str, place: str) -> str:
        """A cell as text; empty for a null. Raises RecipeError on lists and mappings."""
        if value is None:
            return ""
        if isinstance(value, (str, int, float)):
            return str(value).strip()
        raise RecipeError(
            f"Column '{name}' holds a {type(value).__name__}, not text, {place}.",
            where=self.where(),
            accepted="text or a number in each cell",
        )


class TabularDataset(Columns):
    """One file with named columns; a subclass adds `header` and `rows`.

    Parameters that name a column default to a column of the same name. A row in which one of the columns
    is empty is left out.
    """

    path: Path = Field(description="The file, relative to the current directory.")
    split: str | None = Field(
        default=None,
        description="Column that names each row's split. Default: 'split', if there is one; else by content.",
    )

    @abstractmethod
    def rows(self, path: Path) -> Iterator[tuple[str, Cells]]:
        """Every row, with the words that place it in the file (`in line 3`)."""

    def where(self) -> str:
        """The data set and its file."""
        return f"data set '{self.name}', {self.path}"

    def file(self) -> Path:
        """The file, found and not empty."""
        return readable_file(self.path, self.where())

    def columns(self) -> frozenset[str]:
        """The columns of `Record` that the file has."""
        header = self.header()
        self._split_column(header)
        return frozenset(self.mapping(header))

    def digest(self) -> str:
        """SHA-256 of the file's content and the parameters, not of its place."""
        parameters = self.model_dump(mode="json", exclude={"path"})
        return digest_json(
            {"use": self.name, "splitting": SPLITTING, "file": digest_file(self.file()), **parameters}
        )

    def cut(self) -> Cut:
        """Every record of the file, by split."""
        header = self.header()
        own = self._split_column(header)
        candidates = []
        for record, row in self.records(self.rows(self.file()), header):
            split = split_named(str(row.get(own)), f"{self.where()}, column '{own}'") if own else None
            candidates.append(Candidate(record, split=split))
        return cut(candidates, self.shares)

    def _split_column(self, header: list[str]) -> str | None:
        if self.split is not None:
            return self.named(self.split, "split", header)
        return "split" if "split" in header else None
