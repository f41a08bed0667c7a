"""Writes an artifact's files into a folder, the manifest last."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from modelwright.api.model import Model
from modelwright.artifact.artifact import MANIFEST_FILE, SAMPLES_FILE
from modelwright.artifact.manifest import FileFacts, Manifest, StepLink
from modelwright.artifact.provenance import provenance
from modelwright.digest import digest_folder, digest_json, list_folder
from modelwright.errors import StageError
from modelwright.report.card import render_card
from modelwright.report.model import Report
from modelwright.report.write import write_report
from modelwright.store.atomic import seal
from modelwright.validation.samples import Samples


@dataclass(frozen=True)
class Release:
    """All that goes into an artifact but its version; without `samples` where the model was not run."""

    report: Report
    model: Model
    source: Model
    source_name: str
    recipe: dict[str, Any]
    samples: Samples | None
    started: str
    fingerprint: str

    @property
    def recipe_digest(self) -> str:
        """SHA-256 of the resolved recipe."""
        return digest_json(self.recipe)

    def write(self, folder: Path, version: int) -> None:
        """Write the artifact as that version into an empty folder and seal its files."""
        report = self.report.model_copy(update={"version": version})
        # Copied, not linked: what happens to an artifact must not reach the store.
        shutil.copytree(self.model.path, folder / "model", copy_function=shutil.copyfile)
        if digest_folder(folder / "model") != self.model.digest:
            raise StageError(
                "The model's files changed between being measured and being published.",
                where=str(self.model.path),
                hint="run again; what was measured is not what lies there now",
            )
        write_report(report, folder)
        (folder / "README.md").write_text(render_card(report), encoding="utf-8")
        text = yaml.safe_dump(self.recipe, sort_keys=False, allow_unicode=True)
        (folder / "recipe.yaml").write_text(text, encoding="utf-8")
        if self.samples is not None:
            (folder / SAMPLES_FILE).write_text(self.samples.model_dump_json() + "\n", encoding="utf-8")
        draft = self._manifest(folder, version)
        statement = provenance(draft, self.recipe, self.started, report.created)
        (folder / "provenance.json").write_text(json.dumps(statement, indent=2) + "\n", encoding="utf-8")
        manifest = self._manifest(folder, version)
        (folder / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        seal(folder)

    def _manifest(self, folder: Path, version: int) -> Manifest:
        parents = [self.source.digest, *(step.digest for step in self.report.steps)]
        return Manifest(
            name=self.report.name,
            version=version,
            created=self.report.created,
            run_id=self.report.run_id,
            model_digest=self.model.digest,
            recipe_digest=self.recipe_digest,
            source={
                "path": self.source_name,
                "digest": self.source.digest,
                "spec": self.source.spec.model_dump(mode="json"),
            },
            data={data.name: data.digest for data in self.report.data},
            steps=[
                StepLink(
                    name=step.name,
                    stage=step.stage,
                    distribution=step.distribution,
                    parameters=step.parameters,
                    key=step.key,
                    parent_digest=parent,
                    digest=step.digest,
                )
                for step, parent in zip(self.report.steps, parents, strict=False)
            ],
            target=self.report.environment.target,
            hardware=self.report.environment.hardware,
            hardware_fingerprint=self.fingerprint,
            software=self.report.environment.software,
            files={
                name: FileFacts(sha256=entry.sha256, size=entry.size)
                for name, entry in list_folder(folder).items()
                if name != MANIFEST_FILE
            },
        )
