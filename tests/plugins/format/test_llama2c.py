from __future__ import annotations

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.errors import MissingError, RecipeError
from modelwright.testing.tiny_causal import write_tiny_causal
from modelwright_plugins.export.llama2c import ExportLlama2c
from modelwright_plugins.format.llama2c import Llama2c
from tests.plugins.stage_context import FolderContext
from tests.plugins.tiny_llama import open_checkpoint

PARAMETERS = 264 * 64 + 2 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 128 + 2 * 64) + 64


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Model]:
    model = open_checkpoint(write_tiny_causal(tmp_path_factory.mktemp("checkpoint")))
    return {
        version: FolderContext(tmp_path_factory.mktemp(f"v{version}")).apply(
            ExportLlama2c(version=version), model
        )
        for version in (0, 1, 2)
    }


@pytest.fixture(params=[0, 1, 2])
def folder(request: pytest.FixtureRequest, exported: dict[int, Model], tmp_path: Path) -> Path:
    return shutil.copytree(exported[request.param].path, tmp_path / "model")


def patch(folder: Path, offset: int, data: bytes) -> None:
    file = folder / "model.bin"
    content = bytearray(file.read_bytes())
    content[offset : offset + len(data)] = data
    file.write_bytes(content)


def test_what_the_stage_writes_passes(folder: Path) -> None:
    Llama2c().check(folder, deep=True)


def test_size_counts_weights_and_scales(exported: dict[int, Model]) -> None:
    sizes = {version: Llama2c().size(model.path) for version, model in exported.items()}
    assert {size.parameters for size in sizes.values()} == {PARAMETERS}
    assert sizes[0].weight_bytes == sizes[1].weight_bytes == 4 * PARAMETERS
    norms = 5 * 64
    assert sizes[2].weight_bytes == 4 * norms + (PARAMETERS - norms) * 17 // 16


@pytest.mark.parametrize("missing", [1, 1000, 97000])
def test_a_file_that_is_cut_short_is_told(folder: Path, missing: int) -> None:
    file = folder / "model.bin"
    data = file.read_bytes()
    file.write_bytes(data[:-missing])
    with pytest.raises(RecipeError, match=f"cut short: its header needs {len(data):,} bytes"):
        Llama2c().check(folder)


def test_a_file_that_is_too_long_is_told(folder: Path) -> None:
    with (folder / "model.bin").open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(RecipeError, match="too long"):
        Llama2c().check(folder)


@pytest.mark.parametrize("content", [b"", b"\0" * 20, b"24ka" + b"\1\0\0\0" * 8, b"GGUF" + b"\3" * 400])
def test_a_file_of_another_kind_is_told(folder: Path, content: bytes) -> None:
    (folder / "model.bin").write_bytes(content)
    with pytest.raises(RecipeError, match=r"no model of llama2\.c"):
        Llama2c().check(folder)


def test_a_folder_without_the_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no llama2\.c model") as caught:
        Llama2c().check(tmp_path)
    assert caught.value.accepted == "model.bin"


@pytest.mark.parametrize(
    ("offset", "value", "words"),
    [
        (4, struct.pack("<i", 3), "version is 3"),
        (8, struct.pack("<i", -64), "dim -64"),
        (20, struct.pack("<i", 0), "heads 0"),
        (20, struct.pack("<i", 5), "5 heads, 2 of keys"),
        (24, struct.pack("<i", 3), "4 heads, 3 of keys"),
        (36, b"\x07", "shared classifier is 7"),
        (37, struct.pack("<i", 48), "groups of 48"),
        (37, struct.pack("<i", 0), "groups of 0"),
    ],
)
def test_a_header_that_cannot_be_is_told(
    exported: dict[int, Model], tmp_path: Path, offset: int, value: bytes, words: str
) -> None:
    folder = shutil.copytree(exported[2].path, tmp_path / "model")
    patch(folder, offset, value)
    with pytest.raises(RecipeError, match=words):
        Llama2c().check(folder)


def test_a_header_of_other_sizes_is_belied_by_the_file(folder: Path) -> None:
    start = 0 if (folder / "model.bin").read_bytes()[:4] != b"24ka" else 8
    patch(folder, start + 4, struct.pack("<i", 256))
    with pytest.raises(RecipeError, match="cut short"):
        Llama2c().check(folder)


@pytest.mark.parametrize(
    ("version", "offset", "tensor"),
    [(0, 68124, "wq of layer 0"), (2, 1280, "norm"), (2, 18432, "tok_embeddings")],
)
def test_a_deep_check_finds_nan(
    exported: dict[int, Model], tmp_path: Path, version: int, offset: int, tensor: str
) -> None:
    folder = shutil.copytree(exported[version].path, tmp_path / "model")
    patch(folder, offset, np.float32(np.nan).tobytes())
    Llama2c().check(folder)
    with pytest.raises(RecipeError, match=f"1 values that are NaN or infinite, first in '{tensor}'"):
        Llama2c().check(folder, deep=True)


@pytest.mark.parametrize("change", ["cut", "longer", "longest"])
def test_a_damaged_tokenizer_is_told(folder: Path, change: str) -> None:
    file = folder / "tokenizer.bin"
    data = file.read_bytes()
    changed = {"cut": data[:-20], "longer": data + b"\0", "longest": struct.pack("<I", 1) + data[4:]}
    file.write_bytes(changed[change])
    with pytest.raises(RecipeError, match="tokenizer file is damaged or of another model"):
        Llama2c().check(folder)


def test_it_serves_the_cpu(exported: dict[int, Model]) -> None:
    with pytest.raises(MissingError, match="serves the CPU, not 'cuda'"):
        Llama2c().runner(exported[0], Target(device="cuda"))
