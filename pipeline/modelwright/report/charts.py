"""Bar and line charts as SVG text. Colours come from the classes `baseline`, `candidate`, `whisker`, `axis`.

Every chart is drawn 320 units wide, so that its type keeps its size on a phone; pages set several side by
side. Each carries a title and a description for those who cannot see it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 320
BAR_LEFT = 66
BAR_RIGHT = 240
ROW = 20
BAR = 11
GROUP_GAP = 12
MAX_POINTS = 400
TICK_ROOM = 6  # characters beside an axis
SHARED_SCALE_UP_TO = 8.0  # beyond this factor between groups, the shortest bars would vanish


@dataclass(frozen=True)
class Bar:
    """One bar: its label, its value with the ends of its interval, the value as text, its class."""

    label: str
    value: float
    low: float
    high: float
    text: str
    kind: str


@dataclass(frozen=True)
class BarGroup:
    """Bars that are compared with one another, under a heading that may be empty."""

    label: str
    bars: Sequence[Bar]


def bar_chart(ident: str, title: str, groups: Sequence[BarGroup]) -> str:
    """Horizontal bars from zero, with a whisker over each interval that has a width.

    Groups share one scale unless they differ so much that the small would not be seen; then each has its
    own and the chart says so. `ident` must be unique on the page.
    """
    tops = [max((_extent(bar) for bar in group.bars), default=0.0) for group in groups]
    shared = max(tops, default=0.0) <= SHARED_SCALE_UP_TO * min(tops, default=0.0)
    parts: list[str] = []
    y = 0.0
    for group, top in zip(groups, tops, strict=True):
        scale = (max(tops) if shared else top) or 1.0
        if group.label:
            y += 15
            parts.append(f'<text class="group" x="0" y="{y - 2:g}">{escape(group.label)}</text>')
            y += 4
        start = y
        for bar in group.bars:
            parts.append(_bar(bar, y, scale))
            y += ROW
        parts.append(f'<line class="axis" x1="{BAR_LEFT}" y1="{start:g}" x2="{BAR_LEFT}" y2="{y - 2:g}"/>')
        y += GROUP_GAP
    y -= GROUP_GAP if groups else 0
    if not shared:
        y += GROUP_GAP
        parts.append(f'<text class="remark" x="0" y="{y + 4:g}">Each group is drawn to its own scale.</text>')
        y += 12
    described = "; ".join(
        (f"{group.label}: " if group.label else "")
        + ", ".join(f"{bar.label} {bar.text}" for bar in group.bars)
        for group in groups
    )
    return svg(ident, title, f"Bars: {described}.", y, parts)


def line_chart(ident: str, title: str, numbers: Sequence[float]) -> str:
    """A line through `numbers` in their order; what is not finite leaves a gap."""
    height, left, right, top, bottom = 124.0, 48.0, 312.0, 10.0, 100.0
    finite = [number for number in numbers if math.isfinite(number)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    span = (high - low) or 1.0
    last = max(len(numbers) - 1, 1)
    stride = max(1, math.ceil(len(numbers) / MAX_POINTS))
    runs: list[list[str]] = [[]]
    for index, number in enumerate(numbers):
        if not math.isfinite(number):
            runs.append([])
        elif index % stride == 0 or index == last:
            x = left + (right - left) * index / last
            y = bottom - (bottom - top) * (number - low) / span
            runs[-1].append(f"{x:.1f},{y:.1f}")
    parts = [f'<path class="axis" d="M{left:g} {top:g}V{bottom:g}H{right:g}"/>']
    parts += [f'<polyline class="line" points="{" ".join(run)}"/>' for run in runs if len(run) > 1]
    parts += [_dot(run[-1]) for run in runs if run and (len(run) == 1 or run is runs[-1])]
    parts += [
        f'<text class="value" x="{left - 6:g}" y="{top + 5:g}">{tick(high)}</text>',
        f'<text class="value" x="{left - 6:g}" y="{bottom + 1:g}">{tick(low)}</text>',
        f'<text class="label" x="{left:g}" y="{bottom + 18:g}">1</text>',
        f'<text class="value label" x="{right:g}" y="{bottom + 18:g}">{len(numbers)}</text>',
    ]
    ends = f"from {tick(numbers[0])} to {tick(numbers[-1])}" if numbers else "empty"
    description = f"A line of {len(numbers)} numbers, {ends}; lowest {tick(low)}, highest {tick(high)}."
    return svg(ident, title, description, height, parts)


def _bar(bar: Bar, y: float, scale: float) -> str:
    middle = y + ROW / 2 - 1

    def place(value: float) -> float:
        return BAR_LEFT + (BAR_RIGHT - BAR_LEFT) * min(max(value / scale, 0.0), 1.0)

    parts = [f'<text class="label" x="0" y="{middle + 4:g}">{escape(bar.label)}</text>']
    if math.isfinite(bar.value):
        width = max(place(bar.value) - BAR_LEFT, 1.0)
        parts.append(
            f'<rect class="{escape(bar.kind)}" x="{BAR_LEFT}" y="{middle - BAR / 2:g}" '
            f'width="{width:.1f}" height="{BAR}" rx="1.5"/>'
        )
        if math.isfinite(bar.low) and math.isfinite(bar.high) and bar.high > bar.low:
            low, high = place(bar.low), place(bar.high)
            parts.append(
                f'<path class="whisker" d="M{low:.1f} {middle:g}H{high:.1f}'
                f'M{low:.1f} {middle - 3.5:g}v7M{high:.1f} {middle - 3.5:g}v7"/>'
            )
    parts.append(f'<text class="value" x="{WIDTH}" y="{middle + 4:g}">{escape(bar.text)}</text>')
    return "".join(parts)


def _extent(bar: Bar) -> float:
    return max((end for end in (bar.value, bar.high) if math.isfinite(end)), default=0.0)


def _dot(point: str) -> str:
    x, _, y = point.partition(",")
    return f'<circle class="point" cx="{x}" cy="{y}" r="2.5"/>'


def tick(value: float) -> str:
    """A number beside an axis, as short as there is room: to three digits, or to two with an exponent."""
    text = f"{value:,.0f}" if 1000 <= abs(value) < 100_000 else f"{value:.3g}"
    return text if len(text) <= TICK_ROOM else f"{value:.1e}".replace("e+0", "e").replace("e-0", "e-")


def svg(ident: str, title: str, description: str, height: float, parts: Sequence[str]) -> str:
    """A chart of parts, named and described."""
    name = escape(ident)
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {max(height, 1):g}" role="img" '
        f'aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
        + "".join(parts)
        + "</svg>"
    )
