"""What a model will take: weights, cache and activations, and where that fits. Arithmetic on its anatomy.

>>> estimate(Torch().anatomy(folder), Request(batch=1, length=2048)).weights["int4"]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from modelwright.api.anatomy import Anatomy, Group
from modelwright.planning.activations import Attention, activations
from modelwright.planning.device_map import CPU, Device, device_map, device_use
from modelwright.planning.devices import device_name, gpus_of
from modelwright.planning.weight_schemes import (
    ALIASES,
    SCHEMES,
    buffer_bytes,
    compute_bytes,
    weight_bytes,
)

Verdict = Literal["fits", "tight", "does not fit"]
MIB = 2**20
# A process with torch and transformers loaded and no model, as measured (369 MiB), and what the driver
# and its libraries take on a GPU before a model does.
PROCESS_BYTES = 370 * MIB
CUDA_BYTES = 512 * MIB
# Above this share of a device allocators fragment and other processes are pushed out.
TIGHT = 0.9


class Request(NamedTuple):
    """For what to estimate: sequences of `length` tokens, `batch` of them, on devices of so many bytes.

    `dtype` is a name of `SCHEMES` (None: the stored one) and decides the device map. `attention` None
    takes the fused one where the architecture has it. `balanced` is `device_map="auto"`, else `sequential`.
    """

    batch: int = 1
    length: int = 2048
    dtype: str | None = None
    attention: Attention | None = None
    devices: Mapping[Device, int] = {}
    balanced: bool = True


class Cache(BaseModel):
    """The key-value cache of the request, in values of 32 and of 16 bits; `windowed` layers stop growing."""

    model_config = ConfigDict(frozen=True)

    elements_per_token: int
    bytes_per_token: dict[str, int]
    bytes: dict[str, int]
    sliding_window: int | None = None
    windowed_layers: int = 0


class Peak(BaseModel):
    """Activations at their peak: of generation, and of a forward pass that keeps every token's logits."""

    model_config = ConfigDict(frozen=True)

    attention_implementation: Attention
    attention: int
    mlp: int
    last_logits: int
    all_logits: int
    decode: int
    generate: int
    forward: int


class Fit(BaseModel):
    """Whether a whole model fits one device."""

    model_config = ConfigDict(frozen=True)

    device: str
    room: int
    needed: int
    verdict: Verdict


class Placement(BaseModel):
    """The device map over all devices, and the bytes of weights each one gets."""

    model_config = ConfigDict(frozen=True)

    dtype: str
    device_map: dict[str, int | str]
    weight_bytes: dict[str, int]


class Estimate(BaseModel):
    """What a model will take, in bytes. None where the architecture is not known well enough.

    `weights`, `totals` and `fits` go by dtype. A total is weights, buffers, cache, the activations of
    generation (of one forward pass for encoders) and what the process itself takes.
    """

    model_config = ConfigDict(frozen=True)

    architecture: str
    parameters: int
    groups: dict[Group, int]
    tied: bool
    stored_dtype: str
    stored_bytes: int
    context_length: int | None
    batch: int
    length: int
    dtype: str
    weights: dict[str, int]
    schemes: dict[str, str] = Field(default_factory=lambda: {name: s.what for name, s in SCHEMES.items()})
    cache: Cache | None
    activations: Peak | None
    totals: dict[str, int] | None
    fits: dict[str, list[Fit]]
    placement: Placement | None
    notes: list[str]


def estimate(anatomy: Anatomy, request: Request) -> Estimate:
    """Estimate a model for a request."""
    dtype = request.dtype or ALIASES.get(anatomy.dtype, anatomy.dtype)
    notes = list(anatomy.notes)
    if dtype not in SCHEMES:
        notes.append(f"the stored dtype {dtype} is counted as bf16")
        dtype = "bf16"
    context = anatomy.shape.context_length
    if context is not None and request.length > context:
        notes.append(f"{request.length:,} tokens are more than the model's context of {context:,}")
    copies = anatomy.shape.cache_copies
    if copies > 1:
        notes.append(
            f"transformers caches keys and values {copies} times, once for each query head that shares them; "
            "totals count that, the cache's own figures do not"
        )
    attention: Attention = request.attention or ("fused" if anatomy.shape.fused_attention else "eager")
    weights = {name: weight_bytes(anatomy, name) for name in SCHEMES}
    needs = {name: _beside_weights(anatomy, request, name, attention) for name in SCHEMES}
    known = {name: weights[name] + need for name, need in needs.items() if need is not None}
    return Estimate(
        architecture=anatomy.architecture,
        parameters=anatomy.parameters,
        groups=anatomy.groups,
        tied=any(alias.endswith("weight") for alias, _ in anatomy.tied),
        stored_dtype=anatomy.dtype,
        stored_bytes=anatomy.stored_bytes,
        context_length=context,
        batch=request.batch,
        length=request.length,
        dtype=dtype,
        weights=weights,
        cache=_cache(anatomy, request),
        activations=_peak(anatomy, request, dtype, attention),
        totals=known or None,
        fits={name: _fits(total, request.devices) for name, total in known.items()},
        placement=_placement(anatomy, request, dtype),
        notes=notes,
    )


def verdict(needed: int, room: int) -> Verdict:
    """Whether so many bytes fit a device of `room` bytes."""
    if needed > room:
        return "does not fit"
    return "fits" if needed <= TIGHT * room else "tight"


def _beside_weights(anatomy: Anatomy, request: Request, dtype: str, attention: Attention) -> int | None:
    """Cache, activations and buffers; None where they are not known."""
    item = compute_bytes(dtype)
    peak = activations(anatomy, request.batch, request.length, item, attention)
    if peak is None:
        return None
    at_once = peak.generate if anatomy.shape.generates else peak.forward
    cached = anatomy.cache_elements(request.batch, request.length) * anatomy.shape.cache_copies
    return at_once + cached * item + buffer_bytes(anatomy, dtype)


def _cache(anatomy: Anatomy, request: Request) -> Cache | None:
    if not anatomy.caches:
        return None
    per_token = anatomy.cache_elements_per_token
    elements = anatomy.cache_elements(request.batch, request.length)
    items = {"fp32": 4, "fp16": 2}
    return Cache(
        elements_per_token=per_token,
        bytes_per_token={name: per_token * item for name, item in items.items()},
        bytes={name: elements * item for name, item in items.items()},
        sliding_window=anatomy.sliding_window,
        windowed_layers=len(anatomy.windowed_layers),
    )


def _peak(anatomy: Anatomy, request: Request, dtype: str, attention: Attention) -> Peak | None:
    peak = activations(anatomy, request.batch, request.length, compute_bytes(dtype), attention)
    if peak is None:
        return None
    return Peak(
        attention_implementation=attention,
        generate=peak.generate,
        forward=peak.forward,
        **peak._asdict(),
    )


def _fits(total: int, devices: Mapping[Device, int]) -> list[Fit]:
    fits = []
    for device, room in devices.items():
        needed = total + (PROCESS_BYTES if device == CPU else CUDA_BYTES)
        fits.append(Fit(device=device_name(device), room=room, needed=needed, verdict=verdict(needed, room)))
    return fits


def _placement(anatomy: Anatomy, request: Request, dtype: str) -> Placement | None:
    """Only where there is a choice: with a GPU."""
    if not gpus_of(request.devices):
        return None
    placed = device_map(anatomy, dtype, request.devices, balanced=request.balanced)
    used = device_use(anatomy, dtype, placed)
    return Placement(
        dtype=dtype,
        device_map=placed,
        weight_bytes={device_name(device): count for device, count in used.items()},
    )
