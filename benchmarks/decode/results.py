"""The results as plain data and as a table in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from benchmarks.decode.measure import Contender, Settings
from benchmarks.turns.machine import busy_text, machine
from modelwright.statistics import is_noisy, median_interval


def row(contender: Contender, settings: Settings, bandwidth: float) -> dict[str, Any]:
    """Everything about one contender, as plain data."""
    cells = {}
    for length in settings.lengths:
        decode = median_interval(contender.decode[length])
        prefill = median_interval(contender.prefill[length])
        cells[str(length)] = {
            "prefill": prefill.model_dump(),
            "decode": decode.model_dump(),
            "noisy": is_noisy(decode) or is_noisy(prefill),
            "roof_share": decode.value * contender.size_bytes / (bandwidth * 1e9),
            "prefill_rounds": [round(value, 2) for value in contender.prefill[length]],
            "decode_rounds": [round(value, 3) for value in contender.decode[length]],
        }
    return {
        "name": contender.name,
        "kind": contender.kind,
        "runs": contender.worker.runs,
        "versions": contender.worker.versions,
        "size_bytes": contender.size_bytes,
        "cells": cells,
    }


def results(
    contenders: Sequence[Contender],
    missing: Mapping[str, str],
    settings: Settings,
    shares: Mapping[str, float | None],
    bandwidth: Sequence[float],
) -> dict[str, Any]:
    """What was measured, as plain data."""
    memory = median_interval(list(bandwidth))
    return {
        "machine": machine(shares),
        "memory_gigabytes_per_second": memory.model_dump(),
        "settings": {"threads": settings.threads, "rounds": settings.rounds, "new_tokens": settings.new},
        "lengths": list(settings.lengths),
        "contenders": [row(item, settings, memory.value) for item in contenders],
        "best": [
            pair
            for length in settings.lengths
            for measure in ("prefill", "decode")
            if (pair := best_of_each_kind(contenders, length, measure))
        ],
        "missing": dict(missing),
    }


def best_of_each_kind(
    contenders: Sequence[Contender], length: int, measure: Literal["prefill", "decode"]
) -> dict[str, Any] | None:
    """Our fastest and the fastest peer by their medians, and how ours does in each round beside that peer."""
    speeds = {item.name: getattr(item, measure)[length] for item in contenders}
    kinds = {
        kind: max(
            (item.name for item in contenders if item.kind == kind),
            key=lambda name: statistics.median(speeds[name]),
            default=None,
        )
        for kind in ("ours", "peer")
    }
    if None in kinds.values():
        return None
    ratios = [own / other for own, other in zip(speeds[kinds["ours"]], speeds[kinds["peer"]], strict=True)]
    return {"length": length, "measure": measure, **kinds, "ratio": median_interval(ratios).model_dump()}


def markdown(document: dict[str, Any]) -> str:
    """The table; a cell holds prefill and decode in tokens per second, and decode's share of the roof."""
    found, settings, lengths = document["machine"], document["settings"], document["lengths"]
    lines = [
        f"# Decoding a language model on the CPU, {document['shape']} shape",
        "",
        f"{document['date']} · {found['cpu']} · {found['cpus']} CPUs, {settings['threads']} threads · "
        f"`{document['command']}`",
        "",
        "One text, greedy: tokens per second of prefill / of decode after prompts of the given length, "
        f"medians over {settings['rounds']} rounds with decode's 95 % interval, {settings['new_tokens']} new "
        "tokens a round. `~` marks a wide interval. In brackets the share of the roof: the file's bytes "
        "times decode's speed, over the memory bandwidth read in the same rounds, "
        f"{document['memory_gigabytes_per_second']['value']:.1f} GB/s.",
        "",
        busy_text(found["cpu_share_of_others"]),
        "",
        f"| contender | {' | '.join(f'{length} tokens' for length in lengths)} | MB |",
        f"|---|{'---|' * len(lengths)}---|",
    ]
    for item in document["contenders"]:
        cells = " | ".join(cell_text(item["cells"][str(length)]) for length in lengths)
        lines.append(f"| {item['name']} | {cells} | {item['size_bytes'] / 1e6:.0f} |")
    lines += ["", "Our fastest beside the fastest peer, by the median of each, round by round:", ""]
    for pair in document["best"]:
        ratio = pair["ratio"]
        lines.append(
            f"- {pair['measure']}, {pair['length']} tokens: {pair['ours']} at {ratio['value']:.2f} "
            f"({ratio['low']:.2f}–{ratio['high']:.2f}) times {pair['peer']}"
        )
    lines += ["", *(f"Not here: {name}: {reason}" for name, reason in document["missing"].items())]
    lines += ["", "Versions:", ""]
    for item in document["contenders"]:
        shown = ", ".join(f"{name} {version}" for name, version in item["versions"].items())
        lines.append(f"- {item['name']}: {item['runs']}; {shown}")
    return "\n".join(lines) + "\n"


def cell_text(cell: dict[str, Any]) -> str:
    """Prefill / decode (interval) [share of the roof]."""
    decode = cell["decode"]
    interval = f"{decode['low']:.1f}–{decode['high']:.1f}"
    speeds = f"{cell['prefill']['value']:.0f} / {decode['value']:.1f} ({interval})"
    return f"{'~' if cell['noisy'] else ''}{speeds} [{cell['roof_share']:.0%}]"
