"""Curves as SVG text: several series over one axis, each point with its interval.

Colours come from the classes `baseline` and `candidate`, the dashes that tell series of one colour apart
from `dash0`, `dash1` and `dash2`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from modelwright.api.metric import Interval
from modelwright.report import units
from modelwright.report.charts import svg, tick

LEFT, RIGHT, TOP, BOTTOM = 24.0, 302.0, 20.0, 140.0
LEGEND_ROW = 16
DASHES = 3
LOGARITHMIC_FROM = 8.0  # times between the first place and the last, beyond which the first would huddle
LABEL_ROOM = 26.0


@dataclass(frozen=True)
class Series:
    """Values at places along the axis; `kind` is its colour, `dash` tells it from others of that colour."""

    label: str
    points: Sequence[tuple[float, Interval]]
    kind: str
    dash: int = 0


@dataclass(frozen=True)
class Axis:
    """Places from the first to the last, on a logarithmic scale where they lie far apart."""

    first: float
    last: float

    @property
    def logarithmic(self) -> bool:
        """Whether equal distances are equal factors."""
        return self.first > 0 and self.last / self.first >= LOGARITHMIC_FROM

    def place(self, at: float) -> float:
        """The distance from the left edge of the chart."""
        first, last = self.first, self.last
        if self.logarithmic:
            first, last, at = math.log(first), math.log(last), math.log(at)
        return LEFT + (RIGHT - LEFT) * (at - first) / ((last - first) or 1.0)


def curve_chart(
    ident: str, title: str, over: str, series: Sequence[Series], unit: str, *, binary: bool = False
) -> str:
    """Lines through the points of each series, from zero up; `over` names what the axis counts."""
    places = sorted({at for line in series for at, _ in line.points})
    axis = Axis(places[0], places[-1]) if places else Axis(0.0, 1.0)
    ends = [end for line in series for _, found in line.points for end in (found.value, found.high)]
    top = max((end for end in ends if math.isfinite(end)), default=0.0) or 1.0
    scale = units.scale_of(top, unit, binary=binary)
    parts = [
        f'<path class="axis" d="M{LEFT:g} {TOP:g}V{BOTTOM:g}H{RIGHT:g}"/>',
        f'<text x="0" y="{TOP - 9:g}">{escape(scale.text(top))}</text>',
        f'<text class="value" x="{LEFT - 6:g}" y="{BOTTOM + 1:g}">0</text>',
        f'<text class="value label" x="{RIGHT + 10:g}" y="{TOP - 9:g}">over {escape(over)}</text>',
        *_place_labels(places, axis),
        *(_line(line, axis, top) for line in series),
    ]
    y = BOTTOM + 24
    for line in series:
        y += LEGEND_ROW
        parts.append(
            f'<path class="{_classes(line)}" d="M{LEFT:g} {y - 4:g}h24"/>'
            f'<text class="label" x="{LEFT + 32:g}" y="{y:g}">{escape(line.label)}</text>'
        )
    if axis.logarithmic:
        y += LEGEND_ROW
        remark = f"The scale of {over} is logarithmic."
        parts.append(f'<text class="remark" x="{LEFT:g}" y="{y:g}">{escape(remark)}</text>')
    told = "; ".join(f"{line.label}: {_told(line, scale)}" for line in series)
    return svg(ident, title, f"Lines over {over}: {told}.", y + 6, parts)


def _line(line: Series, axis: Axis, top: float) -> str:
    def height(value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * min(max(value / top, 0.0), 1.0)

    shown = [(axis.place(at), found) for at, found in line.points if math.isfinite(found.value)]
    path = "L".join(f"{x:.1f} {height(found.value):.1f}" for x, found in shown)
    parts = [f'<path class="{_classes(line)}" d="M{path}"/>'] if len(shown) > 1 else []
    for x, found in shown:
        if math.isfinite(found.low) and math.isfinite(found.high) and found.high > found.low:
            parts.append(
                f'<path class="whisker" d="M{x:.1f} {height(found.low):.1f}V{height(found.high):.1f}"/>'
            )
        parts.append(
            f'<circle class="{escape(line.kind)}" cx="{x:.1f}" cy="{height(found.value):.1f}" r="2.5"/>'
        )
    return "".join(parts)


def _place_labels(places: Sequence[float], axis: Axis) -> list[str]:
    """A label under each place that has room between its neighbours; the last has it always."""
    shown: list[float] = []
    for at in reversed(places):
        if not shown or axis.place(shown[-1]) - axis.place(at) >= LABEL_ROOM:
            shown.append(at)
    return [
        f'<text class="label middle" x="{axis.place(at):.1f}" y="{BOTTOM + 17:g}">{tick_of(at)}</text>'
        for at in reversed(shown)
    ]


def tick_of(at: float) -> str:
    """A place as its label: whole numbers in full."""
    return f"{at:.0f}" if at == int(at) else tick(at)


def _classes(line: Series) -> str:
    return f"curve {escape(line.kind)} dash{line.dash % DASHES}"


def _told(line: Series, scale: units.Scale) -> str:
    return ", ".join(f"{tick_of(at)} {scale.text(found.value)}" for at, found in line.points)
