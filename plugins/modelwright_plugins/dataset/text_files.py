"""Plain text and Markdown files, cut into passages at blank lines."""

from __future__ import annotations

import glob
import itertools
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from modelwright.api.dataset import Dataset, Record, Split
from modelwright.digest import digest_file, digest_json
from modelwright.errors import RecipeError
from modelwright_plugins.dataset.paths import known_encoding, located, not_encoded
from modelwright_plugins.dataset.splits import SPLITTING, Candidate, Cut, Shares, cut


class TextFiles(Dataset, name="text-files"):
    """Passages of .txt and .md files: `{use: text-files, path: docs}` or `path: "docs/**/*.md"`.

    A file's passages stay together in one split, which the file's path decides; a single file is cut
    between its passages. Column: `text`. Hidden files and folders are left out.
    """

    path: str = Field(min_length=1, description="A folder, file or glob, relative to the current directory.")
    suffixes: tuple[str, ...] = Field(
        default=(".txt", ".md"), description="Which files of a folder are read."
    )
    min_length: int = Field(default=40, ge=1, description="Shorter passages, in characters, are left out.")
    keep_files_together: bool = Field(default=True, description="Keep the passages of one file in one split.")
    encoding: Annotated[str, AfterValidator(known_encoding)] = Field(
        default="utf-8", description="Text encoding of the files."
    )
    shares: Shares = Field(default=Shares(), description="Relative sizes of the splits.")
    limit: int | None = Field(default=None, ge=1, description="At most this many records of each split.")

    def where(self) -> str:
        """The data set and its place."""
        return f"data set '{self.name}', {self.path}"

    def check(self) -> None:
        """Raise unless there is at least one file that is not empty."""
        self.files()

    def columns(self) -> frozenset[str]:
        """`text`."""
        return frozenset({"text"})

    def digest(self) -> str:
        """SHA-256 of the files' names and contents and the parameters, not of the folder's place."""
        parameters = self.model_dump(mode="json", exclude={"path"})
        files = {name: digest_file(file) for name, file in self.files().items()}
        return digest_json({"use": self.name, "splitting": SPLITTING, "files": files, **parameters})

    def load(self, split: Split) -> list[Record]:
        """The passages of one split, ordered by content."""
        hint = "give more files, or set keep_files_together: false" if self.keep_files_together else None
        return self.cut().take(split, self.limit, self.where(), hint)

    def cut(self) -> Cut:
        """Every passage, by split."""
        files = self.files()
        together = self.keep_files_together and len(files) > 1
        candidates = [
            Candidate({"text": passage}, group=name if together else None)
            for name, file in files.items()
            for passage in self._passages(file)
        ]
        return cut(candidates, self.shares)

    def files(self) -> dict[str, Path]:
        """The files by their path relative to the folder (or the fixed part of the glob), sorted.

        Raises RecipeError when there are none, or all are empty.
        """
        path = Path(self.path).expanduser()
        if not path.exists() and glob.has_magic(self.path):
            fixed = list(itertools.takewhile(lambda part: not glob.has_magic(part), path.parts))
            root = located(Path(*fixed), self.where())
            found = list(root.glob("/".join(path.parts[len(fixed) :])))
        elif located(path, self.where()).is_dir():
            root = path
            found = [file for file in path.rglob("*") if file.suffix.lower() in self.suffixes]
        else:
            root, found = path.parent, [path]
        named = {file.relative_to(root).as_posix(): file for file in found if file.is_file()}
        visible = {name: named[name] for name in sorted(named) if not re.search(r"(^|/)\.", name)}
        if not visible:
            others = sorted({file.suffix for file in root.rglob("*") if file.is_file() and file.suffix})
            raise RecipeError(
                f"No files match '{self.path}'.",
                where=self.where(),
                accepted=f"files ending in {' or '.join(self.suffixes)}, or a glob such as 'docs/**/*.rst'",
                hint=f"in '{root}' there are files ending in {', '.join(others[:8])}" if others else None,
            )
        if not any(file.stat().st_size for file in visible.values()):
            raise RecipeError(f"Every file of '{self.path}' is empty.", where=self.where())
        return visible

    def _passages(self, file: Path) -> list[str]:
        encoding = "utf-8-sig" if self.encoding.lower() in ("utf-8", "utf8") else self.encoding
        try:
            text = file.read_text(encoding=encoding)
        except UnicodeDecodeError as error:
            raise not_encoded(file, self.encoding, error, self.where()) from error
        passages = (passage.strip() for passage in re.split(r"\n[^\S\n]*\n", text))
        return [passage for passage in passages if len(passage) >= self.min_length]
