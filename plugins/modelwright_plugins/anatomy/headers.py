"""The tensors that lie in a folder, from the headers of its safetensors files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from modelwright.errors import RecipeError
from modelwright_plugins.format.safetensors_header import BITS, DTYPES, TensorEntry, read_header
from modelwright_plugins.format.weight_files import INDEX, PICKLED, weight_files, weight_index

SHARD = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})\.safetensors$")


class Stored(NamedTuple):
    """Tensors by name, the dtype most values have, and the bytes of all of them."""

    tensors: dict[str, TensorEntry]
    dtype: str
    weight_bytes: int


def read_stored(path: Path) -> Stored | None:
    """What the folder's weight files hold; None where there are none, not even an index that names some.

    Raises RecipeError for pickled weights, a damaged file, a missing shard, and an index that names a
    tensor which its shard does not have.
    """
    index = weight_index(path)
    _check_shards(path, set(index.values()))
    if not any(path.glob("*.safetensors")) and not _pickled(path):
        return None
    tensors: dict[str, TensorEntry] = {}
    owners: dict[str, str] = {}
    for file in weight_files(path):
        for name, entry in read_header(file).items():
            if name in tensors:
                raise RecipeError(
                    f"The tensor '{name}' lies in two files: {owners[name]} and {file.name}.",
                    where=str(path),
                    hint="remove the copy of the weights that is not meant",
                )
            tensors[name], owners[name] = entry, file.name
    for name, shard in index.items():
        if owners.get(name) != shard:
            raise RecipeError(
                f"The index says that '{name}' lies in {shard}, and that file does not have it.",
                where=str(path / INDEX),
                hint="the index and the shards are of different checkpoints; download both again",
            )
    values: dict[str, int] = {}
    for entry in tensors.values():
        if entry.dtype in DTYPES:
            values[entry.dtype] = values.get(entry.dtype, 0) + entry.elements
    dtype = DTYPES[max(values, key=lambda name: values[name])] if values else "float32"
    size = sum(entry.elements * BITS.get(entry.dtype, 8) // 8 for entry in tensors.values())
    return Stored(tensors, dtype, size)


def _check_shards(path: Path, named: set[str]) -> None:
    """Every shard that the index, or the names of the others, speak of is there."""
    present = {file.name for file in path.glob("*.safetensors")}
    expected = set(named)
    for name in present:
        found = SHARD.match(name)
        if found:
            total = int(found["total"])
            expected |= {
                f"{found['stem']}-{number:05d}-of-{total:05d}.safetensors" for number in range(1, total + 1)
            }
    absent = sorted(expected - present)
    if absent:
        raise RecipeError(
            f"The checkpoint lacks {len(absent)} of {len(expected)} shards: {', '.join(absent[:4])}"
            + (", …" if len(absent) > 4 else "")
            + ".",
            where=str(path),
            hint="download what is missing; a folder with only its config.json can be estimated too",
        )


def _pickled(path: Path) -> bool:
    return any(any(path.glob(pattern)) for pattern in PICKLED)
