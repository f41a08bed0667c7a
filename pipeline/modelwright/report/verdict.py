"""The verdict in words, the same in every rendering."""

from __future__ import annotations

from typing import NamedTuple

from modelwright.report.model import Report


class Words(NamedTuple):
    """A verdict: a headline, one sentence that explains it, and whether it is good news."""

    headline: str
    explanation: str
    good: bool


def verdict_words(report: Report) -> Words:
    """The verdict of a report.

    >>> verdict_words(report).headline
    'Released as version 3'
    """
    excused = sum(gate.excused for gate in report.gates)
    failed = sum(gate.closes for gate in report.gates)
    total = len(report.gates)
    if report.verdict == "failed":
        return Words("Failed", "The run did not finish, and nothing was published.", False)
    if report.verdict == "rejected":
        count = f"{failed} of {total} gates failed" if total > 1 else "the gate failed"
        return Words(f"Rejected: {count}", "Nothing was published.", False)
    gates = _gates(total, excused)
    if report.verdict == "built":
        version = f": version {report.version}" if report.version is not None else ""
        return Words(
            f"Built, not run{version}",
            f"The target runs nothing here. {gates}",
            False,
        )
    if report.verdict == "unchanged":
        version = f"version {report.version}" if report.version is not None else "the latest version"
        return Words(
            f"Unchanged: {version} stands",
            f"Model and recipe equal {version}; no new one was made. {gates}",
            not excused,
        )
    version = f" as version {report.version}" if report.version is not None else ""
    return Words(f"Released{version}", gates, True)


def _gates(total: int, excused: int) -> str:
    if total == 0:
        return "The recipe asks for no gate."
    if excused:
        return f"{excused} of {total} gates were not measured: the model is not validated."
    return "The gate passed." if total == 1 else f"All {total} gates passed."
