"""Numbers as people read them: 12.9 ms, 22.9 MB, 612 MiB, 2.43×, −0.7 %."""

from __future__ import annotations

import math
from typing import NamedTuple

MINUS = "−"
NARROW = "\N{NARROW NO-BREAK SPACE}"
NOT_FINITE = "not finite"

_SECONDS = ((3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_BINARY = ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B"))
_DECIMAL = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))
_TO_SECONDS = {"s": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
_TO_BYTES = {"B": 1.0, "bytes": 1.0, "byte": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}
_RATIOS = frozenset({"x", "×", "times", "ratio"})
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Scale(NamedTuple):
    """How a figure is written: divided by `factor`, with `decimals` places, before `suffix`.

    A figure and both ends of its interval share one scale, so that they line up and compare at a glance.
    """

    factor: float
    decimals: int
    suffix: str

    def bare(self, value: float) -> str:
        """The number without its unit."""
        if not math.isfinite(value):
            return NOT_FINITE
        if self.decimals < 0:
            return _scientific(value / self.factor)
        return _fixed(value / self.factor, self.decimals)

    def text(self, value: float) -> str:
        """The number with its unit."""
        return self.bare(value) + (self.suffix if math.isfinite(value) else "")


def scale_of(value: float, unit: str, *, binary: bool = False) -> Scale:
    """The scale that suits `value` in `unit`.

    Seconds and bytes are scaled (bytes to powers of 1024 where `binary`). The unit `%` is that of a share:
    0.02 is 2 %. Any other unit is written as it is, `tokens` of one `token`.
    """
    if unit in _TO_SECONDS:
        return _stepped(value, _TO_SECONDS[unit], _SECONDS)
    if unit in _TO_BYTES:
        return _stepped(value, _TO_BYTES[unit], _BINARY if binary else _DECIMAL)
    if unit in _RATIOS:
        return Scale(1.0, 2, "×")
    if unit == "%":
        return Scale(0.01, 1 if abs(value) >= 0.001 or value == 0 else 2, f"{NARROW}%")
    return Scale(1.0, _decimals(value), f"{NARROW}{noun(value, unit)}" if unit else "")


def noun(count: float, plural: str) -> str:
    """`tokens`, or of one the `token`; what is no word stays as it is."""
    return plural.removesuffix("s") if count == 1 and plural.isalpha() else plural


def quantity(value: float | None, unit: str = "", *, binary: bool = False) -> str:
    """A number with its unit; None is `not measured`.

    >>> quantity(0.0129, "s"), quantity(1320.4, "texts/s")
    ('12.9 ms', '1,320 texts/s')
    """
    return "not measured" if value is None else scale_of(value, unit, binary=binary).text(value)


def memory(count: float) -> str:
    """Bytes of memory, in powers of 1024: `612 MiB`."""
    return quantity(count, "bytes", binary=True)


def disk(count: float) -> str:
    """Bytes on disk, in powers of 1000: `22.9 MB`."""
    return quantity(count, "bytes")


def seconds(count: float) -> str:
    """A duration: `12.9 ms`, `4.20 s`, `3 min 12 s`."""
    if not math.isfinite(count) or count < 60:
        return quantity(count, "s")
    minutes, rest = divmod(round(count), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (rest if not hours else 0, "s"))
    return " ".join(f"{part}{NARROW}{unit}" for part, unit in parts if part)


def ratio(value: float) -> str:
    """How many times: `2.43×`."""
    return quantity(value, "×")


def percent(fraction: float, *, signed: bool = False) -> str:
    """A fraction as a percentage: `−0.7 %`; with `signed`, gains carry their plus sign."""
    text = quantity(fraction, "%")
    return f"+{text}" if signed and fraction > 0 else text


def number(value: float) -> str:
    """A number without a unit, to three digits or as many as tell it from 1."""
    return quantity(value)


def short_digest(digest: str) -> str:
    """The first twelve hex digits of a digest."""
    return digest.removeprefix("sha256:")[:12]


def _stepped(value: float, unit: float, steps: tuple[tuple[float, str], ...]) -> Scale:
    size = abs(value) * unit if math.isfinite(value) else 0.0
    smallest = steps[-1]
    step, suffix = next(
        (s for s in steps if size >= s[0] * 0.9995), smallest if size else (1.0, steps[-1][1])
    )
    if not size:  # zero seconds are `0 s`, not `0 µs`
        suffix = next((name for factor, name in steps if factor == 1.0), suffix)
    shown = size / step
    decimals = 0 if suffix == "B" or not size else max(0, 2 - _magnitude(shown))
    return Scale(step / unit, decimals, NARROW + suffix)


def _magnitude(value: float) -> int:
    return math.floor(math.log10(abs(value) * 1.0005)) if value and math.isfinite(value) else 0


def _decimals(value: float) -> int:
    """Places for a plain number; -1 asks for scientific notation."""
    size = abs(value)
    if not math.isfinite(value) or value == int(value):
        return 0
    if size < 1e-3 or size >= 1e15:
        return -1
    if size >= 1:
        return max(0, 2 - _magnitude(value))
    if size > 0.999:  # cosines: as many places as show two digits of the distance to 1
        return min(8, 1 - math.floor(math.log10(1 - size)))
    return 4 if size >= 0.01 else 5


def _fixed(value: float, decimals: int) -> str:
    text = f"{abs(value):,.{decimals}f}"
    return MINUS + text if value < 0 and float(text.replace(",", "")) else text


def _scientific(value: float) -> str:
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    power = str(int(exponent)).translate(_SUPERSCRIPTS)
    return f"{mantissa.replace('-', MINUS)}{NARROW}×{NARROW}10{power}"


def deviation(used: int, predicted: int) -> str:
    """How far what was used is from the prediction, in words; empty where either is unknown."""
    if used <= 0 or predicted <= 0:
        return ""
    error = used / predicted - 1
    return (
        f"{percent(abs(error))} {'over' if error > 0 else 'under'}" if abs(error) > 0.005 else "as predicted"
    )
