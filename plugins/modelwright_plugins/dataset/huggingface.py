"""Data sets of the library `datasets`: a local folder or one on the Hugging Face hub."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from modelwright.api.dataset import Split
from modelwright.digest import digest_folder, digest_json
from modelwright.errors import MissingError, RecipeError, did_you_mean
from modelwright_plugins.dataset.paths import located
from modelwright_plugins.dataset.splits import ALIASES, SPLITTING, Candidate, Cut, cut
from modelwright_plugins.dataset.tabular import Cells, Columns

log = logging.getLogger(__name__)

# What `Dataset.save_to_disk` and `DatasetDict.save_to_disk` leave in their folder.
SAVED = ("state.json", "dataset_dict.json")


class HuggingFace(Columns, name="huggingface", requires=("datasets",)):
    """A data set that `datasets` opens: `{use: huggingface, hub_id: org/name, revision: <commit>}`.

    `path` is a folder that `save_to_disk` wrote, or one of CSV, JSON or Parquet files; `hub_id` is a name
    on the hub. Which of the two is never guessed, so a mistyped path is not downloaded. Splits that the
    data lacks are cut from its train split. A class label is read by its name; rows without one are left
    out. Raises RecipeError when it cannot be opened, MissingError when the hub cannot serve it.
    """

    path: Path | None = Field(default=None, description="A local folder, relative to the current directory.")
    hub_id: str | None = Field(
        default=None, pattern=r"^[\w.-]+(/[\w.-]+)?$", description="A data set's name on the hub."
    )
    config: str | None = Field(default=None, description="Configuration of the data set, such as 'en'.")
    revision: str | None = Field(
        default=None, description="Commit, tag or branch on the hub; only a full commit pins the content."
    )
    splits: dict[Split, str] = Field(
        default={}, description="What the data calls each split; when given, only these are read."
    )

    @model_validator(mode="after")
    def _one_source(self) -> HuggingFace:
        if (self.path is None) == (self.hub_id is None):
            raise ValueError("give either `path` (a local folder) or `hub_id` (a name on the hub)")
        if self.revision is not None and self.hub_id is None:
            raise ValueError("`revision` goes with `hub_id`; a local folder has none")
        return self

    def where(self) -> str:
        """The data set and its source."""
        return f"data set '{self.name}', {self.hub_id or self.path}"

    def header(self) -> list[str]:
        """The columns that every split has, from the metadata where it says so."""
        return self._common(self._features())

    def digest(self) -> str:
        """SHA-256 of the folder's content, the hub's commit, or the records where no commit is given."""
        source: object
        if self.path is not None:
            source = digest_folder(self._folder())
        elif re.fullmatch(r"[0-9a-f]{40}", self.revision or ""):
            source = [self.hub_id, self.revision]
        else:
            source = self.cut().records
        parameters = self.model_dump(mode="json", exclude={"path", "hub_id", "revision"})
        return digest_json({"use": self.name, "splitting": SPLITTING, "source": source, **parameters})

    def cut(self) -> Cut:
        """Every record, by split."""
        opened = self._open()
        header = self._common({name: part.features for name, part in opened.items()})
        mapping = self.mapping(header)
        candidates: list[Candidate] = []
        for own, split in self._chosen(opened).items():
            part = opened[own].select_columns(sorted(set(mapping.values())))
            rows = self._rows(part, mapping.get("label"), own)
            candidates.extend(Candidate(record, split=split) for record, _ in self.records(rows, header))
        return cut(candidates, self.shares)

    def _rows(self, part: Any, label: str | None, own: str) -> Iterator[tuple[str, Cells]]:
        names = getattr(part.features[label], "names", None) if label else None
        for number, row in enumerate(part, 1):
            if names is not None and row[label] is not None:
                # -1 is how the hub's test sets say that the label is withheld.
                row = {**row, label: names[row[label]] if row[label] >= 0 else None}
            yield f"in row {number} of '{own}'", row

    def _chosen(self, available: Mapping[str, object]) -> dict[str, Split | None]:
        """The split of modelwright for each of the data's own that is read."""
        for split, own in self.splits.items():
            if own not in available:
                raise RecipeError(
                    f"The data has no split '{own}'.",
                    where=f"{self.where()}, splits.{split}",
                    accepted=", ".join(available),
                    hint=did_you_mean(own, available),
                )
        if self.splits:
            return {own: split for split, own in self.splits.items()}
        if list(available) == [""]:
            return {"": None}
        known: dict[str, Split | None] = {own: ALIASES[own] for own in available if own in ALIASES}
        if not known:
            raise RecipeError(
                "None of the data's splits has a usual name.",
                where=self.where(),
                accepted=", ".join(available),
                hint=f"say which is which, for example splits: {{train: {next(iter(available))}}}",
            )
        for own in available.keys() - known.keys():
            log.info("%s: the split '%s' is not read", self.where(), own)
        return known

    def _common(self, features: Mapping[str, Mapping[str, object]]) -> list[str]:
        parts = [features[own] for own in self._chosen(features)]
        return [name for name in parts[0] if all(name in part for part in parts)]

    def _features(self) -> dict[str, Mapping[str, object]]:
        if self.path is None or not self._saved():
            info = self._call("load_dataset_builder", **self._source()).info
            if info.features and info.splits:
                return dict.fromkeys(info.splits, info.features)
        return {own: part.features for own, part in self._open().items()}

    def _open(self) -> dict[str, Any]:
        """The data by its own splits; the name is empty where it has none."""
        if self.path is not None and self._saved():
            opened = self._call("load_from_disk", dataset_path=str(self._folder()))
        else:
            opened = self._call("load_dataset", **self._source())
        return dict(opened) if isinstance(opened, dict) else {"": opened}

    def _source(self) -> dict[str, str | None]:
        source = self.hub_id if self.path is None else str(self._folder())
        return {"path": source, "name": self.config, "revision": self.revision}

    def _folder(self) -> Path:
        assert self.path is not None
        folder = located(self.path, self.where())
        if not folder.is_dir():
            raise RecipeError(
                f"'{folder}' is a file; this data set reads a folder.",
                where=self.where(),
                hint="for one file, `use: csv`, `use: jsonl` or `use: parquet`",
            )
        return folder

    def _saved(self) -> bool:
        return any((self._folder() / name).is_file() for name in SAVED)

    def _call(self, function: str, **arguments: str | None) -> Any:
        import datasets

        try:
            return getattr(datasets, function)(**arguments)
        # FileNotFoundError covers the library's errors for data that is not there.
        except (ConnectionError, FileNotFoundError, ValueError, datasets.exceptions.DatasetsError) as error:
            words = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
            if self.hub_id is None:
                raise RecipeError(
                    f"The library datasets cannot open '{self.path}'. {words}",
                    where=self.where(),
                    accepted="a folder from save_to_disk, or of CSV, JSON or Parquet files",
                    hint="set `config` if the data has several" if isinstance(error, ValueError) else None,
                ) from error
            raise MissingError(
                f"The hub does not serve '{self.hub_id}' here. {words}",
                where=self.where(),
                accepted="a public data set, or one your token may read (hf auth login)",
                hint="check the name and the network; for a local folder give `path` instead",
            ) from error
