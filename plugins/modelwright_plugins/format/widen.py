"""A copy of a checkpoint in float32, made some tensors at a time.

transformers maps a checkpoint's file and converts each tensor while all of the file stays mapped: float32 of
a 16-bit checkpoint takes one and a half times its size then. Of a copy in float32 it takes what is mapped.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from modelwright_plugins.format.safetensors_header import TensorEntry, read_header
from modelwright_plugins.format.weight_files import BESIDE_WEIGHTS, CODE, INDEX, weight_files

SHARD_BYTES = 256 * 2**20
NARROW = ("BF16", "F16")


def is_narrow(folder: Path) -> bool:
    """Whether a checkpoint stores weights in 16 bits."""
    return any(entry.dtype in NARROW for file in weight_files(folder) for entry in read_header(file).values())


def widen(source: Path, out: Path) -> None:
    """Write a checkpoint's 16-bit weights as float32 into the folder `out`, and copy what is beside them."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    for file in source.iterdir():
        wanted = any(file.match(pattern) for pattern in (*BESIDE_WEIGHTS, CODE))
        if file.is_file() and wanted and file.name != INDEX:
            shutil.copyfile(file, out / file.name)
    shards: dict[str, str] = {}
    for file in weight_files(source):
        entries = read_header(file)
        for names in _groups(entries):
            shard = f"model-{len(set(shards.values())):05}.safetensors"
            with safe_open(file, framework="pt") as opened:
                tensors = {name: opened.get_tensor(name) for name in names}
                wide = {
                    name: tensor.float() if entries[name].dtype in NARROW else tensor.clone()
                    for name, tensor in tensors.items()
                }
                save_file(wide, out / shard, metadata={"format": "pt"})
            shards |= dict.fromkeys(names, shard)
    (out / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": shards}), encoding="utf-8")


def _groups(entries: Mapping[str, TensorEntry]) -> Iterator[list[str]]:
    """The names of tensors that together take about SHARD_BYTES in float32."""
    group: list[str] = []
    room = SHARD_BYTES
    for name, entry in entries.items():
        if group and 4 * entry.elements > room:
            yield group
            group, room = [], SHARD_BYTES
        group.append(name)
        room -= 4 * entry.elements
    if group:
        yield group
