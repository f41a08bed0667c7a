"""A teacher's outputs on disk, so that it runs over each example once and need not be loaded again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import JsonValue
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from modelwright.digest import digest_file, digest_json
from modelwright.errors import StageError
from modelwright.store.atomic import disk_error, write_file
from modelwright_plugins.training.example import Example, Examples

if TYPE_CHECKING:
    from modelwright.api.context import StageContext

MANIFEST = "manifest.json"
HEADER = "outputs"  # the key of a file's metadata
SHARD = 512  # examples in one file

Row = dict[str, torch.Tensor]
Teach = Callable[[Sequence[Example]], list[Row]]


class OutputsError(StageError):
    """What a folder holds are not the outputs that are wanted."""


class TeacherOutputs:
    """Named tensors for each example, in files of `SHARD` examples each.

    ::

        FOLDER/manifest.json                  whose outputs, on what, and the SHA-256 of each file
        FOLDER/train-00000.safetensors        tensors NUMBER.NAME

    `of` says all that the outputs depend on. Files are written whole, so that a pass that was killed goes on
    at the first that is missing. `where` is the recipe's key that names the folder; None for one of our own,
    where what is no longer right is made again.
    """

    def __init__(
        self, folder: Path, of: dict[str, JsonValue], examples: Examples, where: str | None = None
    ) -> None:
        tokens = [[*example.tokens] for split in (examples.train, examples.held_out) for example in split]
        self._folder = folder
        self._of: dict[str, JsonValue] = {**of, "examples": digest_json(tokens)}
        self._examples = [*examples.train, *examples.held_out]
        self._where = where
        self._open: dict[str, tuple[Any, list[str]]] = {}

    def make(self, load_teacher: Callable[[], Teach], ctx: StageContext) -> str:
        """Run the teacher over what is missing, if anything is; the digest of all outputs.

        Raises OutputsError where the folder that the recipe names holds other outputs than those wanted,
        or a file was changed, RecipeError where it cannot be written, MissingError where the disk is full.
        """
        try:
            return self._make(load_teacher, ctx)
        except OutputsError as error:
            if self._where is not None:
                raise
            ctx.log.warning("%s They are made again.", error.what)
            shutil.rmtree(self._folder)
            return self._make(load_teacher, ctx)

    def _make(self, load_teacher: Callable[[], Teach], ctx: StageContext) -> str:
        if (self._folder / MANIFEST).is_file():
            return self._check()
        with self._disk_errors():
            self._folder.mkdir(parents=True, exist_ok=True)
        shards = self._shards()
        teach = None
        for number, (name, examples) in enumerate(shards.items()):
            ctx.progress(number, len(shards), "the teacher's outputs")
            if self._is_made(name):
                continue
            teach = teach or load_teacher()
            self._write(name, examples, teach)
        files: dict[str, JsonValue] = {name: digest_file(self._folder / name) for name in shards}
        manifest: dict[str, JsonValue] = {"of": self._of, "files": files}
        with self._disk_errors():
            write_file(self._folder / MANIFEST, json.dumps(manifest, indent=1))
        return digest_json(manifest)

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, SafetensorError) as error:
            failed = error if isinstance(error, OSError) else OSError(str(error))
            refusal = disk_error(failed, self._folder, "keep the teacher's outputs")
            refusal.where = self._place
            raise refusal from error

    @property
    def _place(self) -> str:
        return f"{self._where}: {self._folder}" if self._where else str(self._folder)

    def _check(self) -> str:
        """The digest of all outputs. Raises OutputsError where they are not those wanted."""
        try:
            manifest = json.loads((self._folder / MANIFEST).read_bytes())
            found, files = manifest["of"], manifest["files"]
            differing = [key for key in sorted({*self._of, *found}) if self._of.get(key) != found.get(key)]
            changed = [
                name
                for name, digest in files.items()
                if not (self._folder / name).is_file() or digest_file(self._folder / name) != digest
            ]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._unusable(f"are damaged: {MANIFEST} does not read") from None
        if differing:
            raise self._unusable(f"were made with another {', '.join(differing)}")
        if changed:
            raise self._unusable(f"changed: {changed[0]}")
        return digest_json(manifest)

    def _unusable(self, why: str) -> OutputsError:
        return OutputsError(
            f"The teacher's outputs in the folder {why}; they are not used.",
            where=self._place,
            accepted="outputs of this teacher on these examples, unchanged since",
            hint="remove the folder to have them made again, or give another one",
        )

    def rows(self, examples: Sequence[Example]) -> list[Row]:
        """The outputs of each example."""
        return [self._row(example) for example in examples]

    def _row(self, example: Example) -> Row:
        name = _shard(example)
        if name not in self._open:
            file = safe_open(self._folder / name, framework="pt")
            self._open[name] = (file, json.loads(file.metadata()[HEADER])["names"])
        file, names = self._open[name]
        return {key: file.get_tensor(f"{example.number}.{key}") for key in names}

    def _shards(self) -> dict[str, list[Example]]:
        shards: dict[str, list[Example]] = {}
        for example in self._examples:
            shards.setdefault(_shard(example), []).append(example)
        return shards

    def _is_made(self, name: str) -> bool:
        """Whether a pass that was killed had written this file."""
        if not (self._folder / name).is_file():
            return False
        try:
            with safe_open(self._folder / name, framework="pt") as file:
                made: bool = json.loads(file.metadata()[HEADER])["of"] == digest_json(self._of)
        except (SafetensorError, ValueError, KeyError, TypeError):
            raise self._unusable(f"are damaged: {name} does not read") from None
        return made

    def _write(self, name: str, examples: Sequence[Example], teach: Teach) -> None:
        tensors: Row = {}
        names: list[str] = []
        for example, row in zip(examples, teach(examples), strict=True):
            names = [*row]
            for key, tensor in row.items():
                tensors[f"{example.number}.{key}"] = tensor.contiguous().cpu()
        part = self._folder / f"{name}.part"
        # In one entry, for several are written in an order of chance.
        header = json.dumps({"of": digest_json(self._of), "names": names})
        with self._disk_errors():
            save_file(tensors, part, metadata={HEADER: header})
            part.replace(self._folder / name)


def _shard(example: Example) -> str:
    return f"{example.split}-{example.number // SHARD:05d}.safetensors"
