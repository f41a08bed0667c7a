"""The report as Markdown that fits a pull-request comment."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from modelwright.api.metric import Value
from modelwright.report import figures, units
from modelwright.report.figures import Shown
from modelwright.report.model import Report, Verdict
from modelwright.report.verdict import verdict_words

MAX_CHARACTERS = 60_000  # GitHub refuses a comment of 65,536
MAX_CELL = 300
MAX_FAILURE = 6_000
MAX_GATES = 60
SHOWN_FIGURES = 6

# `@` would notify people and `<` open a tag; the rest would format.
_SPECIAL = re.compile(r"[\\`*_\[\]~|#]")


def render_markdown(report: Report) -> str:
    """Markdown with the verdict, the gates and the main figures; the rest is folded.

    Always below 65,000 characters: parts that would not fit are left out, which the text then says.
    """
    words = verdict_words(report)
    parts = [
        f"## {_sign(report.verdict, good=words.good)} {plain(report.name)}: {words.headline}",
        " ".join(filter(None, (words.explanation, plain(report.description)))),
    ]
    if report.failure:
        parts.append(fenced(report.failure[:MAX_FAILURE]))
    if report.gates:
        parts.append(_gates(report))
    if report.values:
        parts.append(_figures(_ordered(report)[:SHOWN_FIGURES]))
    named = (plain(report.run_id), plain(report.created), units.seconds(report.time.total))
    closing = f"<sub>run {' · '.join(named)}</sub>"
    used = len("\n\n".join(parts)) + len(closing)
    folded: list[str] = []
    for part in _details(report):
        used += len(part) + 2
        if used > MAX_CHARACTERS:
            folded.append("\n_More is in report.html and report.json: it does not fit here._")
            break
        folded.append(part)
    return "\n\n".join([*parts, *(["\n".join(folded)] if folded else []), closing]) + "\n"


def _sign(verdict: Verdict, *, good: bool) -> str:
    if good:
        return "✅"
    return "⚠️" if verdict == "built" else "❌"


def plain(text: str) -> str:
    """Text that means itself in Markdown and stays on one line, cut where it is very long."""
    line = " ".join(text.split())
    line = line if len(line) <= MAX_CELL else line[:MAX_CELL] + "…"
    line = _SPECIAL.sub(lambda found: "\\" + found.group(), line)
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", "&#64;")


def fenced(text: str, language: str = "text") -> str:
    """A code block whose fence is longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], numeric: Iterable[int] = ()) -> str:
    """A Markdown table of cells that are already plain; columns in `numeric` are set to the right."""
    right = set(numeric)
    rule = ["--:" if index in right else "---" for index in range(len(columns))]
    lines = [columns, rule, *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def shown_text(found: Shown | None) -> str:
    """A figure with its interval in small type."""
    if found is None:
        return "–"
    return f"{found.value} <sub>{found.interval}</sub>" if found.interval else found.value


def _gates(report: Report) -> str:
    # Failed gates first, so that none of them is the one left out.
    gates = sorted(report.gates, key=lambda gate: gate.passed)
    rows = [
        (
            plain(gate.name),
            "✅ passed" if gate.passed else "not measured" if gate.excused else "❌ **failed**",
            plain(" ".join(filter(None, (gate.metric, figures.conditions(gate.at))))),
            plain(figures.asked(gate)),
            units.quantity(gate.measured, gate.unit, binary=figures.is_memory(gate.metric)),
            plain(gate.reason),
        )
        for gate in gates[:MAX_GATES]
    ]
    text = table(("Gate", "Result", "Metric", "Asked", "Judged by", "Why"), rows, (4,))
    return text if len(gates) <= MAX_GATES else f"{text}\n\nand {len(gates) - MAX_GATES} more gates"


def _figures(values: Sequence[Value]) -> str:
    rows = [
        (
            plain(figures.label(value)),
            shown_text(figures.of_value(value, "baseline")),
            shown_text(figures.of_value(value, "candidate")),
            shown_text(figures.times(value) or figures.change(value)),
            figures.meaning(value) + (" (noisy)" if value.noisy else ""),
        )
        for value in values
    ]
    return table(("Figure", "Baseline", "Candidate", "Change", "Verdict"), rows, (1, 2, 3))


def _details(report: Report) -> Iterable[str]:
    rest = _ordered(report)[SHOWN_FIGURES:]
    if rest:
        yield _folded("More figures", _figures(rest))
    if report.steps:
        yield _folded("Steps", _steps(report))
    if report.parity:
        yield _folded("Parity of each step", _parity(report))
    if report.recovery:
        yield _folded("Lost and won back", _recovery(report))
    environment = report.environment
    target = {f"target {key}": value for key, value in environment.target.items()}
    named = {**environment.hardware, **environment.software, **target}
    lines = [f"- {plain(note)}" for note in report.notes]
    if report.fused_operators:
        lines.append("- fused operators: " + _listed(report.fused_operators))
    if named:
        lines.append("- environment: " + _listed(named))
    if lines:
        yield _folded("Notes and environment", "\n".join(lines))
    if report.reproduce:
        yield _folded("Reproduce", fenced("\n".join(report.reproduce), "sh"))


def _ordered(report: Report) -> list[Value]:
    """The figures, those to lead with first."""
    leading = figures.headline(report.values, report.gates)
    return [*leading, *(value for value in report.values if value not in leading)]


def _listed(mapping: Mapping[str, object]) -> str:
    return ", ".join(f"{plain(key)} {plain(str(item))}" for key, item in mapping.items())


def _parity(report: Report) -> str:
    names = list(dict.fromkeys(value.name for part in report.parity for value in part.values))
    rows = []
    for part in report.parity:
        found = {value.name: shown_text(figures.of_value(value, "candidate")) for value in part.values}
        rows.append([plain(part.step), plain(part.reference), *(found.get(name, "–") for name in names)])
    columns = ["Step", "Against", *(plain(figures.short_title(name)) for name in names)]
    return table(columns, rows, range(2, len(columns)))


def _recovery(report: Report) -> str:
    rows = [
        (
            plain(part.step),
            plain(figures.label(value)),
            shown_text(figures.of_value(value, "baseline")),
            shown_text(figures.of_value(value, "candidate")),
            shown_text(figures.change(value)),
        )
        for part in report.recovery
        for value in part.values
    ]
    return table(("After", "Figure", "Baseline", "Then", "Change"), rows, (2, 3, 4))


def _steps(report: Report) -> str:
    rows = [
        (
            plain(step.name),
            plain(step.stage),
            "from the store" if step.cached else units.seconds(step.seconds),
            _beside(step.peak_memory, step.predicted_memory, units.memory),
            _beside(step.disk, step.predicted_disk, units.disk),
        )
        for step in report.steps
    ]
    return table(("Step", "Stage", "Time", "Memory, of predicted", "Disk, of predicted"), rows, (2, 3, 4))


def _beside(used: int, predicted: int, text: Callable[[int], str]) -> str:
    error = units.deviation(used, predicted)
    return f"{text(used)} of {text(predicted)}" + (f", {error}" if error else "")


def _folded(summary: str, body: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{body}\n</details>"
