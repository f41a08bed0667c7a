from __future__ import annotations

from pathlib import Path

from sample import failed, released

from modelwright.report.html import render_html
from modelwright.report.model import Report
from modelwright.report.write import write_report


def test_all_four_files_are_written_and_the_data_reads_back_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "one"
    report = released()
    write_report(report, folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "junit.xml",
        "report.html",
        "report.json",
        "report.md",
    ]
    read = Report.model_validate_json((folder / "report.json").read_bytes())
    assert read == report
    assert (folder / "report.html").read_text(encoding="utf-8") == render_html(read)


def test_the_same_report_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_report(failed(), tmp_path / name)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
