"""The device map accelerate would choose: modules in order onto devices in order, the first that has room.

Source: `infer_auto_device_map` of accelerate 1.15 for the placement, and `device_map="auto"` of
transformers 5 for how the load is balanced first. Here it is arithmetic on an anatomy: no model is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from modelwright.api.anatomy import Anatomy
from modelwright.planning.weight_schemes import SCHEMES, Scheme

# GPUs by number, then the processor, then the disk: the names accelerate gives them.
Device = int | str
DISK: Device = "disk"
CPU: Device = "cpu"


@dataclass
class _Part:
    """A module with its children in order, or (without any and `tensor` set) one tensor."""

    name: str
    size: int = 0
    whole: bool = False
    tensor: bool = False
    parameters: list[_Part] = field(default_factory=list)
    buffers: list[_Part] = field(default_factory=list)
    children: list[_Part] = field(default_factory=list)

    @property
    def splits(self) -> bool:
        return bool(self.children) and not self.whole

    def holds(self, name: str) -> bool:
        return f"{name}.".startswith(f"{self.name}.")


def device_map(
    anatomy: Anatomy, dtype: str, limits: Mapping[Device, int], *, balanced: bool = True
) -> dict[str, Device]:
    """Which module goes where: `{"model.embed_tokens": 0, "model.layers.0": 0, …, "lm_head": "cpu"}`.

    `limits` are bytes per device. `balanced` first evens out the GPUs, as `device_map="auto"` does; else
    each is filled before the next (`sequential`). What fits nowhere goes to `disk`. One entry with an
    empty name stands for the whole model.
    """
    top = _tree(anatomy, SCHEMES[dtype])
    ordered = _in_order(limits)
    if balanced:
        ordered = _balanced(top, ordered)
    return _grouped(_place(top, ordered, anatomy.tied))


def device_use(anatomy: Anatomy, dtype: str, placed: Mapping[str, Device]) -> dict[Device, int]:
    """Bytes of weights and buffers that a device map puts on each device."""
    scheme, bits = SCHEMES[dtype], dict.fromkeys(placed.values(), 0)
    for module in anatomy.modules:
        parts = module.path.split(".")
        paths = (".".join(parts[:count]) for count in range(len(parts), -1, -1))
        owner = next((path for path in paths if path in placed), None)
        for tensor in module.tensors:
            home = placed.get(f"{module.path}.{tensor.name}")
            if home is None and owner is not None:
                home = placed[owner]
            if home is not None:
                bits[home] += scheme.tensor_bits(tensor)
    return {device: count // 8 for device, count in bits.items()}


def _tree(anatomy: Anatomy, scheme: Scheme) -> _Part:
    top = _Part("")
    parts: dict[str, _Part] = {"": top}

    def part(path: str) -> _Part:
        if path not in parts:
            parts[path] = _Part(path)
            part(path.rpartition(".")[0]).children.append(parts[path])
        return parts[path]

    for module in anatomy.modules:
        own = part(module.path)
        own.whole = own.whole or module.whole
        for tensor in module.tensors:
            size = scheme.tensor_bits(tensor) // 8
            name = f"{module.path}.{tensor.name}" if module.path else tensor.name
            owned = own.buffers if tensor.group == "buffer" else own.parameters
            owned.append(_Part(name, size, tensor=True))
            path: str | None = module.path
            while path is not None:
                part(path).size += size
                path = path.rpartition(".")[0] if path else None
    return top


def _in_order(limits: Mapping[Device, int]) -> dict[Device, int]:
    gpus = sorted(device for device in limits if isinstance(device, int))
    return {device: limits[device] for device in [*gpus, *(name for name in (CPU, DISK) if name in limits)]}


def _balanced(top: _Part, limits: dict[Device, int]) -> dict[Device, int]:
    """Every GPU but the last takes its share and room for the largest part that cannot be split."""
    gpus = [device for device in limits if isinstance(device, int) and limits[device] > 0]
    if not gpus:
        return limits
    largest = max((part.size for part in _walk(top) if part.whole), default=0)
    own = max((_own_size(part) for part in _walk(top) if part.name), default=0)
    share = top.size // len(gpus) + int(1.25 * max(largest, own))
    return {device: min(share, room) if device in gpus[:-1] else room for device, room in limits.items()}


def _own_size(part: _Part) -> int:
    return part.size - sum(child.size for child in part.children)


def _walk(part: _Part) -> list[_Part]:
    return [part, *(below for child in part.children for below in _walk(child))]


def _place(top: _Part, limits: dict[Device, int], tied: Sequence[tuple[str, ...]]) -> dict[str, Device]:
    devices = [*limits, *([] if DISK in limits else [DISK])]
    gpus = [device for device in devices if device not in (CPU, DISK)]
    # These keep room for a layer that was moved off and has to come back to compute.
    reserving = [gpus[0], CPU] if gpus else [CPU]
    used: dict[Device, int] = dict.fromkeys(devices, 0)
    waiting = [*top.parameters, *top.children, *top.buffers]
    largest = _largest_layers(waiting)
    placed: dict[str, Device] = {}
    current = 0
    while waiting:
        part = waiting.pop(0)
        largest = (largest[0], [name for name in largest[1] if not part.holds(name)])
        if not largest[1]:
            largest = _largest_layers([item for item in waiting if not item.tensor])
        device = devices[current]
        kept = largest[0] if device in reserving else 0
        room = None if device == DISK else limits[device] - kept
        partners = _partners(part, waiting, tied)
        together = part.size + sum(partner.size for partner in partners)
        if room is None or used[device] + together <= room:
            used[device] += together
            for item in (part, *partners):
                placed[item.name] = device
            waiting = [item for item in waiting if item not in partners]
            continue
        if partners and used[device] + part.size <= room:
            partner = next((item for item in partners if item.splits), None)
            if partner is not None:
                at = waiting.index(partner)
                waiting[at : at + 1] = [*partner.parameters, *partner.children]
                waiting.insert(0, part)
                largest = _largest_layers([item for item in waiting if not item.tensor])
                continue
        if used[device] + part.size >= room and part.splits:
            waiting = [*part.parameters, *part.children, *waiting]
            largest = _largest_layers([item for item in waiting if not item.tensor])
            continue
        used[device] += kept
        current += 1
        waiting.insert(0, part)
    return placed


def _partners(part: _Part, waiting: Sequence[_Part], tied: Sequence[tuple[str, ...]]) -> list[_Part]:
    """Parts that hold a tensor tied to one in `part`: they have to lie on the same device."""
    found: list[_Part] = []
    for group in tied:
        inside = [name for name in group if part.holds(name)]
        if inside and len(inside) < len(group):
            for name in group:
                if name not in inside:
                    partner = next((item for item in waiting if item.holds(name)), None)
                    if partner is not None and partner not in found:
                        found.append(partner)
    return found


def _largest_layers(parts: Sequence[_Part]) -> tuple[int, list[str]]:
    """The size of the largest part that cannot be split, and all of that size."""
    size, names = 0, []
    for part in parts:
        below, found = _largest_layers(part.children) if part.splits else (part.size, [part.name])
        if below > size:
            size, names = below, list(found)
        elif below == size:
            names += found
    return size, names


def _grouped(placed: dict[str, Device], prefix: str = "") -> dict[str, Device]:
    """One entry for a module whose parts all lie on one device."""
    if len(placed) > 1 and len(set(placed.values())) == 1:
        return {prefix: next(iter(placed.values()))}
    depth = prefix.count(".") + 1 if prefix else 0
    below: dict[str, dict[str, Device]] = {}
    for name, device in placed.items():
        below.setdefault(".".join(name.split(".")[: depth + 1]), {})[name] = device
    result: dict[str, Device] = {}
    for name, inside in below.items():
        result |= inside if name in inside or len(inside) == 1 else _grouped(inside, name)
    return result
