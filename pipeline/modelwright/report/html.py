"""The report as one HTML file: no script, no network, readable on a phone, in the dark and on paper."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import count

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from pydantic import JsonValue

from modelwright.api.metric import Value
from modelwright.report import charts, curves, figures, records, units
from modelwright.report.curve_charts import curve_chart
from modelwright.report.model import Report
from modelwright.report.verdict import verdict_words

LOG_TAIL = 20_000


def render_html(report: Report) -> str:
    """The report as a self-contained HTML page.

    >>> Path("report.html").write_text(render_html(report), encoding="utf-8")
    """
    numbers = count(1)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            words=verdict_words(report),
            headline=figures.headline(report.values, report.gates),
            groups=[(group, found) for group in figures.GROUPS if (found := _of_group(report, group))],
            protocols=_protocols(report.values),
            charts=[(title, Markup(svg)) for title, svg in _value_charts(report.values, numbers)],
            recovery_charts=[(title, Markup(svg)) for title, svg in _recovery_charts(report, numbers)],
            time_chart=Markup(_time_chart(report)),
            parity_columns=list(dict.fromkeys(value.name for part in report.parity for value in part.values)),
            curve=_curve_drawer(numbers),
        )
    )


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("modelwright.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        title=figures.title,
        asked=figures.asked,
        short_title=figures.short_title,
        conditions=figures.conditions,
        shown=figures.of_value,
        change=figures.change,
        meaning=figures.meaning,
        times=figures.times,
        disk=units.disk,
        memory=units.memory,
        seconds=units.seconds,
        short=units.short_digest,
        lay_out=records.lay_out,
        literal=records.literal,
        log_tail=lambda text: text[-LOG_TAIL:],
        kind=lambda layout: type(layout).__name__,
    )
    environment.globals.update(
        quantity=_quantity, deviation=units.deviation, share=_share, memory=units.memory, disk=units.disk
    )
    return environment


def _quantity(value: float | None, unit: str, metric: str) -> str:
    return units.quantity(value, unit, binary=figures.is_memory(metric))


def _of_group(report: Report, group: str) -> list[Value]:
    return [value for value in report.values if figures.group_of(value) == group]


def _protocols(values: list[Value]) -> list[tuple[str, dict[str, JsonValue]]]:
    """Each protocol once, with the names of the figures measured by it."""
    found: dict[str, tuple[list[str], dict[str, JsonValue]]] = {}
    for value in values:
        if value.protocol:
            names, _ = found.setdefault(records.cell(value.protocol), ([], value.protocol))
            if value.name not in names:
                names.append(value.name)
    return [(", ".join(names), protocol) for names, protocol in found.values()]


def _value_charts(values: list[Value], numbers: Iterator[int]) -> Iterator[tuple[str, str]]:
    """A chart for each figure of speed, memory and size that varies or is compared with the baseline."""
    for group in ("Speed", "Memory", "Size"):
        named: dict[str, list[Value]] = {}
        for value in values:
            if figures.group_of(value) == group:
                named.setdefault(value.name, []).append(value)
        for name, found in named.items():
            direction = {"higher": "more is better", "lower": "less is better"}.get(found[0].better, "")
            panels, rest = curves.panels(found)
            for panel in panels:
                fixed = figures.conditions(panel.fixed)
                title = ", ".join(filter(None, (figures.title(name), fixed, panel.data, direction)))
                yield title, _curves(f"chart-{next(numbers)}", title, panel, found[0])
            compared = [value for value in rest if value.baseline is not None]
            if compared:
                title = ", ".join(filter(None, (figures.title(name), direction)))
                groups = [charts.BarGroup(_heading(value), list(_bars(value))) for value in compared]
                yield title, charts.bar_chart(f"chart-{next(numbers)}", title, groups)


def _recovery_charts(report: Report, numbers: Iterator[int]) -> Iterator[tuple[str, str]]:
    """A chart for each figure that was taken after every step: the share of the baseline's that is left."""
    for name in dict.fromkeys(figures.label(value) for part in report.recovery for value in part.values):
        bars = [charts.Bar("baseline", 1.0, 1.0, 1.0, "100\u202f%", "baseline")]
        for part in report.recovery:
            for value in part.values:
                share = figures.kept(value) if figures.label(value) == name else None
                if share is not None:
                    text = units.quantity(share.value, "%")
                    bars.append(charts.Bar(part.step, share.value, share.low, share.high, text, "candidate"))
        title = f"{name}: share of the baseline kept"
        yield title, charts.bar_chart(f"chart-{next(numbers)}", title, [charts.BarGroup("", bars)])


def _curves(ident: str, title: str, panel: curves.Panel, value: Value) -> str:
    over = "tokens" if panel.over == "length" else panel.over.replace("_", " ")
    binary = figures.is_memory(value.name)
    return curve_chart(ident, title, over, panel.series, value.unit, binary=binary)


def _heading(value: Value) -> str:
    return ", ".join(filter(None, (figures.conditions(value.at), value.data, "noisy" if value.noisy else "")))


def _bars(value: Value) -> Iterator[charts.Bar]:
    for kind, interval, text in (
        ("baseline", value.baseline, figures.of_value(value, "baseline")),
        ("candidate", value.candidate, figures.of_value(value, "candidate")),
    ):
        if interval is not None and text is not None:
            yield charts.Bar(kind, interval.value, interval.low, interval.high, text.value, kind)


def _time_chart(report: Report) -> str:
    spent = report.time
    bars = [
        charts.Bar(label, value, value, value, units.seconds(value), "candidate")
        for label, value in (
            ("steps", spent.steps),
            ("validation", spent.validation),
            ("the rest", spent.orchestration),
        )
    ]
    return charts.bar_chart("chart-time", "Where the time went", [charts.BarGroup("", bars)])


def _curve_drawer(numbers: Iterator[int]) -> Callable[[list[float], str], Markup]:
    def draw(values: list[float], title: str) -> Markup:
        return Markup(charts.line_chart(f"chart-{next(numbers)}", title, values))

    return draw


def _share(used: int, predicted: int) -> int | None:
    """What was used as a percentage of the prediction, at most 100; None where either is unknown."""
    return min(100, round(100 * used / predicted)) if used > 0 and predicted > 0 else None
