"""JSON Lines: one JSON object in each line (jsonlines.org)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from modelwright.errors import RecipeError
from modelwright_plugins.dataset.paths import not_encoded
from modelwright_plugins.dataset.tabular import Cells, TabularDataset


class Jsonl(TabularDataset, name="jsonl"):
    """Records from a JSON Lines file in UTF-8: `{use: jsonl, path: my.jsonl, text: body}`.

    The first line says which columns there are; blank lines are skipped.
    Raises RecipeError with the line number where a line is not a JSON object.
    """

    def header(self) -> list[str]:
        """The keys of the first object."""
        for _, row in self.rows(self.file()):
            return list(row)
        raise RecipeError("There is no line with a JSON object.", where=self.where())

    def rows(self, path: Path) -> Iterator[tuple[str, Cells]]:
        """Every object."""
        # Read as bytes: text mode would cut lines at U+2028 and name no line when decoding fails.
        with path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    where = f"{self.where()}, line {number}"
                    raise not_encoded(path, "utf-8", error, where) from error
                if not text.strip():
                    continue
                yield f"in line {number}", self._object(text, number)

    def _object(self, text: str, number: int) -> Cells:
        where = f"{self.where()}, line {number}"
        whole = text.lstrip()[0] == "[" or text.strip() == "{"
        hint = "the file looks like one JSON document; write one object per line" if whole else None
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            raise RecipeError(
                f"Line {number} is not JSON: {error.msg} (column {error.colno}).",
                where=where,
                accepted='one object in each line, such as {"text": "…"}',
                hint=hint,
            ) from error
        if not isinstance(value, dict):
            raise RecipeError(
                f"Line {number} is not a JSON object.",
                where=where,
                accepted='one object in each line, such as {"text": "…"}',
                hint=hint,
            )
        if "\\ud" in text.lower() and any(_is_broken(cell) for cell in value.values()):
            raise RecipeError(
                f"Line {number} holds half of a surrogate pair, which is no character.",
                where=where,
                accepted="both halves, such as \\ud83e\\udd8a, or the character itself",
            )
        return value


def _is_broken(cell: object) -> bool:
    return isinstance(cell, str) and any("\ud800" <= letter <= "\udfff" for letter in cell)
