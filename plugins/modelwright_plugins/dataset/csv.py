"""Comma-separated values with a header line (RFC 4180)."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from modelwright.errors import RecipeError
from modelwright_plugins.dataset.paths import known_encoding, not_encoded
from modelwright_plugins.dataset.tabular import Cells, TabularDataset


class Csv(TabularDataset, name="csv"):
    """Records from a CSV file: `{use: csv, path: questions.csv, query: question, passage: answer}`.

    The first line names the columns; cells may be quoted and hold line breaks.
    Raises RecipeError with the line number where a row does not fit the header.
    """

    delimiter: str = Field(
        default=",", min_length=1, max_length=1, description="What separates cells; a tab for TSV."
    )
    encoding: Annotated[str, AfterValidator(known_encoding)] = Field(
        default="utf-8", description="Text encoding of the file."
    )

    def header(self) -> list[str]:
        """The first line."""
        header = next(self._lines(self.file()), (0, []))[1]
        repeated = sorted({name for name in header if header.count(name) > 1})
        if repeated:
            raise RecipeError(
                f"The column '{repeated[0]}' is there twice.", where=self.where(), accepted="unique names"
            )
        if not any(header):
            raise RecipeError(
                "The first line names no columns.", where=self.where(), accepted="a header line"
            )
        return header

    def rows(self, path: Path) -> Iterator[tuple[str, Cells]]:
        """Every row after the header; blank lines are skipped."""
        header = self.header()
        lines = self._lines(path)
        next(lines)
        for number, cells in lines:
            if not cells:
                continue
            if len(cells) != len(header):
                raise RecipeError(
                    f"The row ending in line {number} has {len(cells)} cells, the header {len(header)}.",
                    where=self.where(),
                    accepted=f"{', '.join(header)}, separated by {self.delimiter!r}",
                    hint='put a cell that holds the separator in quotes ("), or set `delimiter`',
                )
            yield f"in line {number}", dict(zip(header, cells, strict=True))

    def _lines(self, path: Path) -> Iterator[tuple[int, list[str]]]:
        # utf-8-sig reads files with and without the byte order mark that spreadsheets write.
        encoding = "utf-8-sig" if self.encoding.lower() in ("utf-8", "utf8") else self.encoding
        try:
            with path.open(encoding=encoding, newline="") as stream:
                reader = csv.reader(stream, delimiter=self.delimiter, strict=True)
                for cells in reader:
                    yield reader.line_num, [cell.strip() for cell in cells] if reader.line_num == 1 else cells
        except UnicodeDecodeError as error:
            raise not_encoded(path, self.encoding, error, self.where()) from error
        except csv.Error as error:
            if "field limit" in str(error):
                hint = "for texts this long use JSON Lines (use: jsonl)"
            else:
                hint = 'a quote (") inside a quoted cell is written twice ("")'
            raise RecipeError(
                f"This cannot be read as CSV: {error} (line {reader.line_num}).",
                where=self.where(),
                hint=hint,
            ) from error
