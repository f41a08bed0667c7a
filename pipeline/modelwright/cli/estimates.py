"""Prints estimates: one model in full, or several as a table. Sizes are in powers of 1000."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from modelwright.cli.output import say, table
from modelwright.report.units import disk

if TYPE_CHECKING:
    from modelwright.planning.estimate import Estimate

DTYPES = ("fp32", "bf16", "fp16", "int8", "nf4", "int4")
QUANTIZED = ("int8", "nf4", "int4")


def print_one(name: str, result: Estimate) -> None:
    """One model in full."""
    say(f"{name}: {result.architecture}, {result.parameters:,} parameters, {result.stored_dtype}")
    tied = " (head tied to the embedding)" if result.tied else ""
    say("of which " + ", ".join(f"{key} {count:,}" for key, count in result.groups.items() if count) + tied)
    if result.stored_bytes:
        say(f"stored: {disk(result.stored_bytes)}")
    if result.context_length:
        say(f"context: {result.context_length:,} tokens")
    say()
    _print_cache(result)
    _print_activations(result)
    fits = next(iter(result.fits.values()), [])
    rows = [
        [
            dtype,
            disk(result.weights[dtype]),
            disk(result.totals[dtype]) if result.totals else "not known",
            *(fit.verdict for fit in result.fits.get(dtype, [])),
        ]
        for dtype in DTYPES
    ]
    rooms = [f"{fit.device} ({disk(fit.room)})" for fit in fits]
    say(table(["dtype", "weights", "with cache and activations", *rooms], rows))
    say()
    for dtype in QUANTIZED:
        say(f"{dtype}: {result.schemes[dtype]}")
    _print_placement(result)
    for note in result.notes:
        say(f"note: {note}")


def print_table(found: Sequence[tuple[str, Estimate]]) -> None:
    """Several models, a line each."""
    first = found[0][1]
    rooms = {fit.device: fit.room for _, result in found for fits in result.fits.values() for fit in fits}
    rows = []
    for name, result in found:
        cache, peak = result.cache, result.activations
        verdicts = {fit.device: fit.verdict for fit in result.fits.get(result.dtype, [])}
        rows.append(
            [
                name,
                f"{result.parameters:,}",
                *(disk(result.weights[dtype]) for dtype in DTYPES),
                disk(cache.bytes_per_token["fp16"]) if cache else "-",
                disk(cache.bytes["fp16"]) if cache else "-",
                disk(peak.generate if cache else peak.forward) if peak else "-",
                result.dtype,
                *(verdicts.get(device, "not known") for device in rooms),
            ]
        )
    held = f"KV {first.batch:,} × {first.length:,}"
    head = ["model", "parameters", *DTYPES, "KV a token", held, "activations", "in"]
    say(table([*head, *(f"{device} ({disk(room)})" for device, room in rooms.items())], rows))
    say()
    say("KV: the key-value cache in 16 bits")
    say("activations, and whether weights, cache and activations fit: in the dtype that the line names")
    for name, result in found:
        for note in result.notes:
            say(f"note: {name}: {note}")


def _print_cache(result: Estimate) -> None:
    cache = result.cache
    if cache is None:
        return
    say(
        f"KV cache: {disk(cache.bytes_per_token['fp16'])} a token in 16 bits; "
        f"{disk(cache.bytes['fp16'])} for {result.batch:,} × {result.length:,} tokens "
        f"({disk(cache.bytes['fp32'])} in fp32)"
    )
    if cache.sliding_window:
        layers = "1 layer keeps" if cache.windowed_layers == 1 else f"{cache.windowed_layers} layers keep"
        say(f"  {layers} the last {cache.sliding_window:,} tokens only")


def _print_activations(result: Estimate) -> None:
    peak = result.activations
    if peak is None:
        return
    kernel = f"{peak.attention_implementation} attention"
    generating = f"{disk(peak.generate)} generating, " if result.cache else ""
    say(
        f"activations in {result.dtype}, {kernel}, at their peak: {generating}"
        f"{disk(peak.forward)} for a forward pass over every token"
    )
    say()


def _print_placement(result: Estimate) -> None:
    placement = result.placement
    if placement is None:
        return
    say()
    used = ", ".join(f"{device} {disk(count)}" for device, count in placement.weight_bytes.items())
    say(f"device_map in {placement.dtype} ({used} of weights):")
    for line in _runs(placement.device_map):
        say(f"  {line}")
    if "disk" in placement.weight_bytes:
        say("  what lies on disk is read again for every token: more memory or fewer bits would help")


def _runs(placed: Mapping[str, int | str]) -> list[str]:
    """The map line by line; layers that follow each other on one device are one line."""
    runs: list[tuple[str, str, int | str]] = []
    for name, device in placed.items():
        if runs and runs[-1][2] == device and _follows(runs[-1][1], name):
            runs[-1] = (runs[-1][0], name, device)
        else:
            runs.append((name, name, device))
    return [
        f"{first or 'the whole model'}{'' if first == last else f' … {last}'}: {device}"
        for first, last, device in runs
    ]


def _follows(before: str, name: str) -> bool:
    """Whether two names differ in their last part alone, which is a number in both."""
    (stem, _, last), (other, _, number) = before.rpartition("."), name.rpartition(".")
    return stem == other and last.isdigit() and number.isdigit()
