from __future__ import annotations

import json

import jsonschema
import pytest
from sample import bare, failed, rejected, released

from modelwright.report.model import Report
from modelwright.report.schema import SCHEMA_FILE, report_schema, schema_text


def test_the_committed_schema_is_current() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), "run python -m modelwright.report.schema"


@pytest.mark.parametrize(
    "report", [released(), rejected(), failed(), bare()], ids=lambda report: report.verdict
)
def test_reports_validate(report: Report) -> None:
    schema = report_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(report.model_dump_json()), schema, jsonschema.Draft202012Validator)


def test_a_report_with_an_unknown_verdict_or_key_is_refused() -> None:
    data = json.loads(released().model_dump_json())
    for wrong in ({**data, "verdict": "fine"}, {**data, "extra": 1}, {**data, "gates": [{"name": "x"}]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, report_schema(), jsonschema.Draft202012Validator)


def test_the_schema_names_itself() -> None:
    assert report_schema()["$id"] == "urn:modelwright:report:1"
    assert report_schema()["title"] == "modelwright report"
