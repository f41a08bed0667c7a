"""A report on disk: the data and every rendering of it."""

from __future__ import annotations

from pathlib import Path

from modelwright.report.html import render_html
from modelwright.report.junit import render_junit
from modelwright.report.markdown import render_markdown
from modelwright.report.model import Report


def write_report(report: Report, folder: Path) -> None:
    """Write report.json, report.html, report.md and junit.xml into `folder`, which is made if need be.

    >>> write_report(report, Path("artifacts/minilm-int8/runs/20260102T030405Z"))
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("report.json", report.model_dump_json(indent=2) + "\n"),
        ("report.html", render_html(report)),
        ("report.md", render_markdown(report)),
        ("junit.xml", render_junit(report)),
    ):
        (folder / name).write_text(text, encoding="utf-8")
