"""A checkpoint's 16-bit weights as float32."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the torch extra")
pytest.importorskip("safetensors", reason="needs the torch extra")

from safetensors.torch import load_file, save_file  # noqa: E402

from modelwright_plugins.format import widen as module  # noqa: E402
from modelwright_plugins.format.safetensors_header import read_header  # noqa: E402
from modelwright_plugins.format.weight_files import weight_files  # noqa: E402
from modelwright_plugins.format.widen import is_narrow, widen  # noqa: E402


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "table": torch.randn(20, 8, generator=generator).to(torch.bfloat16),
        "half": torch.randn(4, 4, generator=generator).half(),
        "norm": torch.randn(8, generator=generator),
        "steps": torch.arange(3),
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"another copy")
    return folder


def test_every_value_is_kept(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARD_BYTES", 256)
    wide = tmp_path / "wide"
    wide.mkdir()
    widen(checkpoint, wide)
    files = weight_files(wide)
    assert len(files) > 1
    assert is_narrow(checkpoint)
    assert not is_narrow(wide)
    found = {name: tensor for file in files for name, tensor in load_file(file).items()}
    for name, tensor in load_file(checkpoint / "model.safetensors").items():
        assert torch.equal(found[name], tensor.to(found[name].dtype)), name
    types = {name: entry.dtype for file in files for name, entry in read_header(file).items()}
    assert types == {"table": "F32", "half": "F32", "norm": "F32", "steps": "I64"}


def test_what_is_beside_the_weights_comes_along(checkpoint: Path, tmp_path: Path) -> None:
    wide = tmp_path / "wide"
    wide.mkdir()
    widen(checkpoint, wide)
    names = {file.name for file in wide.iterdir()}
    assert names == {"config.json", "model-00000.safetensors", "model.safetensors.index.json"}
