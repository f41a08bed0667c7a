"""Apache Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelwright.errors import RecipeError
from modelwright_plugins.dataset.tabular import Cells, TabularDataset


class Parquet(TabularDataset, name="parquet", requires=("pyarrow",)):
    """Records from a Parquet file: `{use: parquet, path: my.parquet, text: body}`.

    Only the columns that are asked for are read. Raises RecipeError when the file is not Parquet.
    """

    def header(self) -> list[str]:
        """The names in the file's schema; reads its footer alone."""
        with self._open(self.file()) as file:
            return list(file.schema_arrow.names)

    def rows(self, path: Path) -> Iterator[tuple[str, Cells]]:
        """Every row, a batch at a time."""
        header = self.header()
        own = self._split_column(header)
        wanted = {*self.mapping(header).values(), *([own] if own else [])}
        number = 0
        with self._open(path) as file:
            for batch in file.iter_batches(columns=sorted(wanted)):
                for row in batch.to_pylist():
                    number += 1
                    yield f"in row {number}", row

    def _open(self, path: Path) -> Any:
        import pyarrow
        import pyarrow.parquet

        try:
            return pyarrow.parquet.ParquetFile(path)
        except pyarrow.ArrowInvalid as error:
            raise RecipeError(
                f"'{path}' is not a Parquet file, or only part of one.",
                where=self.where(),
                accepted="a file written by pyarrow, pandas, Spark or DuckDB",
                hint="for CSV or JSON Lines, `use: csv` or `use: jsonl`",
            ) from error
