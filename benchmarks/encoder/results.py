"""The results as plain data and as a table in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.encoder.entrants import Missing
from benchmarks.encoder.measure import CELLS, Measured, Settings, Shares
from benchmarks.encoder.texts import EVALUATED
from benchmarks.turns.machine import busy_text, machine
from modelwright.statistics import is_noisy, median_interval

LEAST_COSINE = 0.99


def row(measured: Measured, baseline: Measured) -> dict[str, Any]:
    """Everything about one contender, as plain data."""
    cells = {}
    for cell in CELLS:
        turns, others = measured.turns[cell], baseline.turns[cell]
        ms = median_interval(turns)
        faster = median_interval([other / own for own, other in zip(turns, others, strict=True)])
        cells[cell] = {
            "ms": ms.model_dump(),
            "faster": faster.model_dump(),
            "noisy": is_noisy(ms),
            "turns_ms": [round(value, 4) for value in turns],
        }
    mean = float(measured.cosines.mean())
    return {
        "name": measured.entrant.name,
        "kind": measured.entrant.kind,
        "runs": measured.runs,
        "versions": measured.versions,
        "size_bytes": measured.entrant.size_bytes,
        "cosine": {"mean": mean, "min": float(measured.cosines.min()), "texts": EVALUATED},
        "counts": mean >= LEAST_COSINE,
        "cells": cells,
    }


def results(
    measured: Sequence[Measured], missing: Sequence[Missing], settings: Settings, others: Shares
) -> dict[str, Any]:
    """What was measured, as plain data.

    `others` is the share of the CPUs that other processes used while each cell was measured.
    """
    return {
        "machine": machine(others),
        "settings": {"threads": settings.threads, "rounds": settings.rounds, "seconds": settings.seconds},
        "least_cosine": LEAST_COSINE,
        "contenders": [row(item, measured[0]) for item in measured],
        "missing": [item._asdict() for item in missing],
    }


def markdown(document: dict[str, Any]) -> str:
    """The table; a cell holds the median, its 95 % interval, and how many times faster than the baseline."""
    found, settings = document["machine"], document["settings"]
    lines = [
        "# Encoder in int8 on the CPU",
        "",
        f"{document['date']} · {found['cpu']} · {found['cpus']} CPUs, {settings['threads']} threads · "
        f"`{document['command']}`",
        "",
        "Milliseconds from token ids to pooled embeddings, by batch x length: the median over "
        f"{settings['rounds']} rounds with its 95 % interval, and the speed relative to PyTorch fp32 in the "
        f"same round. `~` marks a wide interval. Cosine with PyTorch fp32 over {EVALUATED} docstrings.",
        "",
        busy_text(found["cpu_share_of_others"]),
        "",
        f"| contender | {' | '.join(CELLS)} | cosine mean / min | MB | |",
        f"|---|{'---|' * len(CELLS)}---|---|---|",
    ]
    for item in document["contenders"]:
        cells = " | ".join(cell_text(item["cells"][cell]) for cell in CELLS)
        cosine = f"{item['cosine']['mean']:.4f} / {item['cosine']['min']:.4f}"
        remark = "" if item["counts"] else f"does not count: cosine below {document['least_cosine']}"
        lines.append(f"| {item['name']} | {cells} | {cosine} | {item['size_bytes'] / 1e6:.1f} | {remark} |")
    lines += ["", *(f"Not here: {item['name']}: {item['reason']}" for item in document["missing"])]
    lines += ["", "Versions:", ""]
    for item in document["contenders"]:
        found = ", ".join(f"{name} {version}" for name, version in item["versions"].items())
        lines.append(f"- {item['name']}: {item['runs']}; {found}")
    return "\n".join(lines) + "\n"


def cell_text(cell: dict[str, Any]) -> str:
    ms, faster = cell["ms"], cell["faster"]
    digits = 2 if ms["value"] < 10 else 1 if ms["value"] < 100 else 0
    interval = f"{ms['low']:.{digits}f}–{ms['high']:.{digits}f}"
    return f"{'~' if cell['noisy'] else ''}{ms['value']:.{digits}f} ({interval}) **{faster['value']:.2f}×**"
