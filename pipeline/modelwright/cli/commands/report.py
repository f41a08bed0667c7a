"""Show the report of an artifact or of a run folder.

modelwright report minilm-int8                       the latest version's, as text
modelwright report artifacts/minilm-int8/runs/ID     a run's, released or not
modelwright report minilm-int8 --format html > report.html
"""

from __future__ import annotations

import argparse

from modelwright.cli.options import add_artifacts
from modelwright.cli.output import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whose, and in which form."""
    parser.add_argument(
        "of", metavar="ARTIFACT|RUN", help="NAME, NAME/VERSION, or a folder with a report.json"
    )
    parser.add_argument(
        "--format",
        choices=("md", "html", "json", "junit"),
        default="md",
        help="Markdown (the default), a web page, the report's data, or JUnit XML with a case for each gate",
    )
    add_artifacts(parser)


def run(args: argparse.Namespace) -> int:
    """Render it anew from report.json."""
    from modelwright.cli.reports import find_report
    from modelwright.report.html import render_html
    from modelwright.report.junit import render_junit
    from modelwright.report.markdown import render_markdown

    report, _ = find_report(args.of, args.artifacts)
    rendered = {
        "md": lambda: render_markdown(report),
        "html": lambda: render_html(report),
        "json": lambda: report.model_dump_json(indent=2),
        "junit": lambda: render_junit(report),
    }
    say(rendered[args.format]().rstrip())
    return 0
