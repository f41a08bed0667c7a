from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from modelwright_plugins.format.safetensors_metadata import sort_metadata

METADATA = {f"layer.{index}.weight": f'{{"_type": "Int8Tensor", "é": "{index}\\n"}}' for index in range(40)}


def write(file: Path, metadata: dict[str, str] | None) -> bytes:
    save_file({"a": np.arange(6, dtype=np.int8), "b": np.ones((2, 3), np.float32)}, file, metadata=metadata)
    sort_metadata(file)
    return file.read_bytes()


def test_files_of_equal_content_have_equal_bytes(tmp_path: Path) -> None:
    backwards = dict(reversed(METADATA.items()))
    first = write(tmp_path / "a.safetensors", METADATA)
    assert first == write(tmp_path / "b.safetensors", backwards)
    with safe_open(tmp_path / "a.safetensors", "numpy") as tensors:
        assert tensors.metadata() == METADATA
        assert tensors.get_tensor("a").tolist() == [0, 1, 2, 3, 4, 5]
        assert tensors.get_tensor("b").sum() == 6


def test_a_file_without_metadata(tmp_path: Path) -> None:
    save_file({"a": np.arange(6, dtype=np.int8)}, tmp_path / "plain.safetensors")
    before = (tmp_path / "plain.safetensors").read_bytes()
    sort_metadata(tmp_path / "plain.safetensors")
    assert (tmp_path / "plain.safetensors").read_bytes() == before
