"""A released artifact, opened from its folder wherever that lies now."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from modelwright.api.model import Model
from modelwright.api.runner import Runner
from modelwright.api.target import Target
from modelwright.artifact.manifest import SCHEMA_VERSION, Manifest, Problem
from modelwright.digest import digest_entries, digest_file, list_folder
from modelwright.errors import MissingError, RecipeError
from modelwright.registry import Registry
from modelwright.report.model import Report

if TYPE_CHECKING:
    from modelwright.validation.samples import Samples

MANIFEST_FILE = "manifest.json"
SAMPLES_FILE = "samples.json"


@dataclass(frozen=True)
class Artifact:
    """A version of a model with its evidence.

    >>> artifact = Artifact.open("artifacts/minilm-int8/1")
    >>> artifact.runner().embed(["a text"]).shape
    (1, 384)

    Opening reads the manifest only. `runner` needs the runtime of the artifact's format and nothing that
    made it (no torch for an ONNX artifact).
    """

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: str | Path) -> Artifact:
        """Open an artifact's folder. Raises RecipeError when it is none."""
        folder = Path(path)
        file = folder / MANIFEST_FILE
        if not file.is_file():
            raise RecipeError(
                f"'{path}' is not an artifact.",
                where=str(file),
                accepted="artifacts/NAME/VERSION",
                hint="modelwright list shows the artifacts there are",
            )
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
            if data.get("schema_version", 0) > SCHEMA_VERSION:
                raise RecipeError(
                    "The artifact was written by a newer modelwright.",
                    where=str(file),
                    hint="upgrade modelwright",
                )
            return cls(folder.absolute(), Manifest.model_validate(data))
        except (ValueError, AttributeError, RecursionError, ValidationError) as error:
            raise RecipeError(
                "The manifest is damaged.", where=str(file), hint="release it again, or restore the file"
            ) from error

    @property
    def model(self) -> Model:
        """The model inside."""
        return Model.open(self.path / "model", self.manifest.model_digest)

    @property
    def validated(self) -> bool:
        """Whether the model was run before it was published: what it gave was recorded."""
        return SAMPLES_FILE in self.manifest.files

    @property
    def report(self) -> Report:
        """The report of the run that released it."""
        return Report.model_validate_json((self.path / "report.json").read_bytes())

    def runner(self, target: Target | None = None) -> Runner:
        """Load the model in its runtime, with the settings it was measured with unless a target is given.

        Raises MissingError for a format, a package or a device that is not here, RecipeError for a target
        that this modelwright does not know, and where the model is damaged.
        """
        registry = Registry.load()
        model = self.model
        name = model.spec.format
        if name not in registry.formats:
            raise MissingError(
                f"No plugin here has the format '{name}'.",
                where=str(self.path),
                accepted=", ".join(registry.formats),
                hint="install the plugin that has it",
            )
        registry.formats.require(name, str(self.path))
        return registry.formats[name]().runner(model, target or self.target)

    @property
    def target(self) -> Target:
        """What the model was made for. Raises RecipeError where this modelwright does not know it."""
        try:
            return Target.model_validate(self.manifest.target)
        except ValidationError as error:
            raise RecipeError(
                "The manifest names a target that this modelwright does not know.",
                where=str(self.path / MANIFEST_FILE),
                hint="upgrade modelwright, or restore the file",
            ) from error

    @property
    def samples(self) -> Samples:
        """What the model gave when it was released. Raises RecipeError where the file does not read."""
        from modelwright.validation.samples import Samples

        file = self.path / SAMPLES_FILE
        try:
            return Samples.model_validate_json(file.read_bytes())
        except (OSError, ValidationError) as error:
            raise RecipeError("The recorded outputs do not read.", where=str(file)) from error

    def verify(self) -> list[Problem]:
        """Hash every file and compare with the manifest; what is changed, missing or was added."""
        problems = []
        for name, facts in self.manifest.files.items():
            file = self.path / name
            if not file.is_file():
                problems.append(Problem(name, "is missing"))
            elif file.stat().st_size != facts.size:
                problems.append(Problem(name, f"has {file.stat().st_size:,} bytes instead of {facts.size:,}"))
            elif digest_file(file) != facts.sha256:
                problems.append(Problem(name, "was changed: its SHA-256 differs"))
        known = {*self.manifest.files, MANIFEST_FILE}
        present = (file.relative_to(self.path).as_posix() for file in self.path.rglob("*") if file.is_file())
        problems += [Problem(name, "was added") for name in sorted(present) if name not in known]
        if not problems and digest_entries(list_folder(self.path / "model")) != self.manifest.model_digest:
            problems.append(Problem(MANIFEST_FILE, "names another model digest than the files have"))
        return problems
