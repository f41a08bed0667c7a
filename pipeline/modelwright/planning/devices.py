"""Memory of devices: as given (`gpu0=24GiB`), or as found on this machine."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from modelwright.errors import RecipeError
from modelwright.planning.device_map import CPU, Device
from modelwright.process.memory import total_memory

UNITS = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}
SIZE = re.compile(r"^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$", re.ASCII)
NAME = re.compile(r"^(?:gpu|cuda:?)(\d{1,3})$", re.ASCII)
ACCEPTED = "gpu0=24GiB, gpu1=24GiB, …, cpu=64GiB"
QUERY = ("nvidia-smi", "--query-gpu=index,memory.total", "--format=csv,noheader,nounits")


def parse_devices(texts: Sequence[str], where: str) -> dict[Device, int]:
    """Bytes per device from texts such as `gpu0=24GiB`. Raises RecipeError for anything else."""
    pairs = []
    for text in texts:
        name, equals, size = text.partition("=")
        if not equals:
            raise RecipeError(f"'{text}' is no device with its memory.", where=where, accepted=ACCEPTED)
        pairs.append((name.strip(), size))
    return devices_of(pairs, where)


def devices_of(pairs: Sequence[tuple[str, object]], where: str) -> dict[Device, int]:
    """Bytes per device from names and sizes. Raises RecipeError for a name given twice, too."""
    devices: dict[Device, int] = {}
    for name, size in pairs:
        device = _device(str(name), where)
        if device in devices:
            raise RecipeError(f"The device '{name}' is given twice.", where=where)
        devices[device] = parse_size(str(size), where)
    return devices


def parse_size(text: str, where: str) -> int:
    """Bytes from `24GiB`, `24GB`, `512 MiB` or a plain number of bytes. Raises RecipeError."""
    found = SIZE.match(text.strip())
    factor = UNITS.get(found[2].upper()) if found else None
    if found is None or factor is None or float(found[1]) * factor < 1:
        raise RecipeError(
            f"'{text}' is no amount of memory.", where=where, accepted="a number and a unit, such as 24GiB"
        )
    return int(float(found[1]) * factor)


def found_devices() -> dict[Device, int]:
    """The GPUs that nvidia-smi shows, by number, and this machine's memory as `cpu`."""
    return {**_gpus(), CPU: total_memory()}


def device_name(device: Device) -> str:
    """A device as people write it: `gpu0`, `cpu`."""
    return f"gpu{device}" if isinstance(device, int) else device


def gpus_of(devices: Mapping[Device, int]) -> dict[Device, int]:
    """The GPUs among devices."""
    return {device: room for device, room in devices.items() if isinstance(device, int)}


def _device(name: str, where: str) -> Device:
    if name == CPU:
        return CPU
    found = NAME.match(name)
    if found is None:
        raise RecipeError(f"There is no kind of device '{name}'.", where=where, accepted=ACCEPTED)
    return int(found[1])


def _gpus() -> dict[Device, int]:
    if shutil.which(QUERY[0]) is None:
        return {}
    try:
        done = subprocess.run(QUERY, capture_output=True, text=True, timeout=10, check=True)
    except (subprocess.SubprocessError, OSError):
        return {}  # a driver that does not answer: no GPU to count on
    return parse_nvidia_smi(done.stdout)


def parse_nvidia_smi(text: str) -> dict[Device, int]:
    """GPUs from lines of `index, MiB`; lines that say no number (`[N/A]`) are left out."""
    found: dict[Device, int] = {}
    for line in text.splitlines():
        index, _, mib = line.partition(",")
        if index.strip().isdigit() and mib.strip().isdigit():
            found[int(index)] = int(mib) * 2**20
    return found
