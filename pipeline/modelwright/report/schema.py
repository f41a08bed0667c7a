"""The JSON schema of `report.json`, for readers in other languages.

`python -m modelwright.report.schema` writes the committed copy anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from modelwright.report.model import SCHEMA_VERSION, Report

SCHEMA_FILE = Path(__file__).with_name("report.schema.json")


def report_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) that every `report.json` of this version validates against."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:modelwright:report:{SCHEMA_VERSION}",
        **Report.model_json_schema(mode="serialization"),
        "title": "modelwright report",
    }


def schema_text() -> str:
    """The schema as the committed file holds it."""
    return json.dumps(report_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
