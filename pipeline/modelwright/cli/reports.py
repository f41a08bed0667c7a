"""Finds the report a command line names."""

from __future__ import annotations

from pathlib import Path

from modelwright.artifact.shelf import Shelf
from modelwright.errors import RecipeError
from modelwright.report.model import Report
from modelwright.store.workspace import Workspace

REPORT_FILE = "report.json"


def find_report(text: str, artifacts: Path | None) -> tuple[Report, Path]:
    """The report of an artifact (NAME, NAME/VERSION) or of a folder that holds one, and that folder."""
    folder = Path(text)
    if not (folder / REPORT_FILE).is_file():
        folder = Shelf(Workspace.locate(artifacts).artifacts).resolve(text).path
    file = folder / REPORT_FILE
    try:
        return Report.model_validate_json(file.read_bytes()), folder
    except (ValueError, OSError) as error:
        raise RecipeError("The report is damaged or of another version.", where=str(file)) from error
