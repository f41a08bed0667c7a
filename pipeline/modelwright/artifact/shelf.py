"""The artifacts folder: names, their versions, and labels such as `production`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from modelwright.artifact.artifact import MANIFEST_FILE, Artifact
from modelwright.errors import RecipeError, did_you_mean
from modelwright.store.atomic import disk_errors, write_file

LABELS_FILE = "labels.json"
NUMBER = re.compile(r"[1-9][0-9]*", re.ASCII)


class Shelf:
    """Finds artifacts by name.

    >>> Shelf(Path("artifacts")).find("minilm-int8")               # the latest version
    >>> Shelf(Path("artifacts")).find("minilm-int8", "production")  # the version so labelled
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """Names that have at least one version."""
        if not self.root.is_dir():
            return []
        return sorted(item.name for item in self.root.iterdir() if item.is_dir() and self.versions(item.name))

    def versions(self, name: str) -> list[int]:
        """The versions of a name, oldest first; damaged ones too, so that no number is given twice."""
        folder = self.root / name
        if name.startswith(".") or not folder.is_dir():
            return []
        return sorted(int(item.name) for item in folder.iterdir() if NUMBER.fullmatch(item.name))

    def next_version(self, name: str) -> int:
        """The number the next version of a name gets: above every version, and above every label's."""
        return max([*self.versions(name), *self.labels(name).values()], default=0) + 1

    def labels(self, name: str) -> dict[str, int]:
        """The labels of a name and the version each points to. Raises RecipeError when they do not read."""
        file = self.root / name / LABELS_FILE
        if not file.is_file():
            return {}
        try:
            read = json.loads(file.read_text(encoding="utf-8"))
            return {str(label): int(number) for label, number in read.items()}
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise RecipeError(
                "The labels are damaged.",
                where=str(file),
                accepted='{"label": version}',
                hint="correct the file, or remove it and promote again",
            ) from error

    def find(self, name: str, version: str | int | None = None) -> Artifact:
        """A version by number or label, the latest without one. Raises RecipeError naming what there is."""
        return Artifact.open(self._folder(name, version))

    def resolve(self, text: str) -> Artifact:
        """An artifact by folder, by `NAME`, or by `NAME/VERSION` with a number or a label."""
        return Artifact.open(self.locate(text))

    def locate(self, text: str) -> Path:
        """The folder that `resolve` opens, whether or not what is in it is whole."""
        if (Path(text) / MANIFEST_FILE).is_file() or text.startswith((".", "/")):
            return Path(text)
        name, _, version = text.rstrip("/").partition("/")
        return self._folder(name, version or None)

    def _folder(self, name: str, version: str | int | None) -> Path:
        versions = self.versions(name)
        if not versions:
            raise RecipeError(
                f"There is no artifact '{name}'.",
                where=str(self.root),
                accepted=", ".join(self.names()) or "(the folder holds no artifact yet)",
                hint=did_you_mean(name, self.names()),
            )
        labels = self.labels(name)
        number = versions[-1] if version is None else labels.get(str(version), version)
        if str(number) not in map(str, versions):
            raise RecipeError(
                f"'{name}' has no version '{version}'.",
                where=str(self.root / name),
                accepted=", ".join([*map(str, versions), *labels]),
            )
        return self.root / name / str(number)

    def promote(
        self, name: str, version: str, label: str, *, not_validated: bool = False
    ) -> tuple[Artifact, int | None]:
        """Point a label at a version; the artifact and the version it pointed to before.

        Raises RecipeError when the version's files were changed since the release, and for one that was built
        and not run, unless `not_validated` allows it.
        """
        if not re.fullmatch(r"[a-z][a-z0-9-]*", label):
            raise RecipeError(
                f"'{label}' cannot be a label.",
                accepted="lower-case letters, digits and dashes, a letter first",
            )
        artifact = self.find(name, version)
        problems = artifact.verify()
        if problems:
            raise RecipeError(
                f"Version {artifact.manifest.version} of '{name}' is not what was released: "
                f"{problems[0].file} {problems[0].what}.",
                where=str(artifact.path),
                hint="release it again; a damaged version is not promoted",
            )
        if not artifact.validated and not not_validated:
            raise RecipeError(
                f"Version {artifact.manifest.version} of '{name}' was built, not run: it is not validated.",
                where=str(artifact.path),
                hint="measure it where it runs; or promote it with --not-validated",
            )
        with disk_errors(self.root, "write the label"), FileLock(self.root / name / ".lock"):
            labels = self.labels(name)
            before = labels.get(label)
            labels[label] = artifact.manifest.version
            write_file(self.root / name / LABELS_FILE, json.dumps(labels, indent=2, sort_keys=True) + "\n")
        return artifact, before

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return ((name, version) for name in self.names() for version in self.versions(name))
