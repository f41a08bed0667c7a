"""Whether this processor's int8 kernels overflow, so that weights may need a bit less."""

from __future__ import annotations

import platform
from collections.abc import Collection

from modelwright.api.cpu import cpu_instructions
from modelwright.api.target import Target

# They add four products in 32 bits at once.
VNNI = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})


def saturates(target: Target, instructions: Collection[str] | None = None) -> bool:
    """Whether sums of uint8 times int8 overflow 16 bits: on x86 without VNNI, where kernels add two of them.

    >>> saturates(Target(), {"avx2"})       # on x86
    True

    A processor whose instructions are not known counts as one without.

    ONNX Runtime, Quantize ONNX models, "When to use reduce-range"; oneDNN, "Nuances of int8 computations".
    """
    if target.device != "cpu" or platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    return VNNI.isdisjoint(cpu_instructions() if instructions is None else instructions)


def reduces_range(wanted: bool | None, target: Target, *, per_channel: bool) -> bool:
    """Whether weights get 7 bits: as wanted, or where products saturate and each channel has its scale.

    One scale for a whole tensor has no bit to spare: there 7 bits lose more than saturation does.
    """
    return per_channel and saturates(target) if wanted is None else wanted
