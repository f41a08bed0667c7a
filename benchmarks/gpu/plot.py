"""Attention over long prompts as a picture: time and memory, both axes logarithmic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

Points = Sequence[tuple[float, float]]
COLOURS = ("#b3261e", "#1a73e8", "#188038", "#9334e6")
WIDTH, HEIGHT = 400, 330
LEFT, RIGHT, TOP, BOTTOM = 66, 380, 36, 270


def attention_plot(rows: Sequence[dict[str, Any]]) -> str:
    """An SVG of milliseconds and of MiB over tokens, a line for each kernel.

    A slope of 1 is linear in the length, of 2 quadratic.
    """
    names = list(dict.fromkeys(name for row in rows for name in row["bytes"]))
    times = {
        name: [(row["length"], row["ms"][name]["value"]) for row in rows if name in row["ms"]]
        for name in names
    }
    memory = {
        name: [(row["length"], row["bytes"][name] / 2**20) for row in rows if row["bytes"].get(name)]
        for name in names
    }
    legend = "".join(
        f'<path d="M{LEFT + 84 * place} 308h22" stroke="{COLOURS[place]}" stroke-width="2"/>'
        f'<text x="{LEFT + 27 + 84 * place}" y="312">{escape(name)}</text>'
        for place, name in enumerate(names)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12" fill="#202124" role="img">'
        "<title>Causal attention over long prompts: time and memory of each kernel</title>"
        f'<rect width="{2 * WIDTH}" height="{HEIGHT}" fill="#fff"/>{legend}'
        f"{_panel('Milliseconds', times)}"
        f'<g transform="translate({WIDTH})">{_panel("MiB beyond queries, keys and values", memory)}</g>'
        "</svg>\n"
    )


def _panel(title: str, lines: Mapping[str, Points]) -> str:
    lengths = sorted({at for points in lines.values() for at, _ in points})
    values = [value for points in lines.values() for _, value in points]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    first, last = math.log(lengths[0]), math.log(lengths[-1])

    def x(at: float) -> float:
        return LEFT + (RIGHT - LEFT) * (math.log(at) - first) / ((last - first) or 1)

    def y(value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (math.log10(value) - low) / ((high - low) or 1)

    parts = [f'<text x="{LEFT}" y="20" font-weight="bold">{escape(title)}</text>']
    for power in range(low, high + 1):
        at = y(10.0**power)
        parts.append(f'<path d="M{LEFT} {at:.1f}H{RIGHT}" stroke="#dadce0"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{10.0**power:,g}</text>')
    for length in lengths:
        label = f"{length / 1024:g}k"
        parts.append(f'<text x="{x(length):.1f}" y="{BOTTOM + 18}" text-anchor="middle">{label}</text>')
    for place, points in enumerate(lines.values()):
        path = "L".join(f"{x(at):.1f} {y(value):.1f}" for at, value in points)
        parts.append(f'<path d="M{path}" fill="none" stroke="{COLOURS[place]}" stroke-width="2"/>')
    return "".join(parts)
