from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from modelwright.pickles import pickles


def test_pickles_are_found_under_any_name(tmp_path: Path) -> None:
    (tmp_path / "a.data").write_bytes(pickle.dumps({"a": 1}, protocol=2))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.onnx").write_bytes(pickle.dumps([1, 2]))
    with zipfile.ZipFile(tmp_path / "weights.safetensors", "w") as archive:  # as torch.save writes
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    np.save(tmp_path / "objects.npy", np.array([{}, None], dtype=object), allow_pickle=True)
    assert pickles(tmp_path) == ["a.data", "deep/b.onnx", "objects.npy", "weights.safetensors"]


def test_weights_that_begin_like_a_pickle_are_none(tmp_path: Path) -> None:
    # The first eight bytes are the header's length: 640 is 80 02 00 …, a pickle's first two bytes.
    name = "x"
    while True:
        save_file({name: np.zeros(2, np.float32)}, tmp_path / "model.safetensors")
        start = (tmp_path / "model.safetensors").read_bytes()[:2]
        if start == b"\x80\x02":
            break
        name += "x"
        assert len(name) < 1000
    np.save(tmp_path / "numbers.npy", np.zeros(3))
    (tmp_path / "notes.txt").write_text("\u20ac.", encoding="utf-8")
    assert pickles(tmp_path) == []
