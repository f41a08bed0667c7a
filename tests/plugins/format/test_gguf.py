from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelwright.api.model import Model, ModelSpec
from modelwright.errors import RecipeError
from modelwright.testing.absence import run_without
from modelwright_plugins.export.gguf import ExportGGUF
from modelwright_plugins.format.gguf import GGUF
from modelwright_plugins.gguf.header import MODEL_FILE, read_header
from tests.plugins.stage_context import FolderContext

pytest.importorskip("gguf", reason="needs the gguf extra")

PARAMETERS = 264 * 64 + 64 + 2 * (2 * 64 + 64 * 64 * 2 + 2 * 32 * 64 + 3 * 64 * 128)
Exported = Callable[..., Model]


@pytest.fixture(scope="module")
def shared(tiny_causal: Model, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Model]:
    made: dict[str, Model] = {}

    def export(kind: str) -> Model:
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            stage = ExportGGUF.model_validate({"type": kind, "cache_precision": "f32"})
            made[kind] = FolderContext(folder).apply(stage, tiny_causal)
        return made[kind]

    return export


@pytest.fixture
def exported(shared: Callable[[str], Model], tmp_path: Path) -> Exported:
    """The tiny Llama in a type, in a folder of the test's own, with changes to its description."""

    def copy(kind: str = "F32", **changes: Any) -> Model:
        model = shared(kind)
        folder = shutil.copytree(model.path, tmp_path / f"{kind}-{len(list(tmp_path.iterdir()))}")
        spec = ModelSpec.model_validate(model.spec.model_dump() | changes)
        spec.write(folder)
        return Model.open(folder)

    return copy


def overwrite(file: Path, offset: int, data: bytes) -> None:
    with file.open("r+b") as stream:
        stream.seek(offset)
        stream.write(data)


def test_size_comes_from_the_header(exported: Exported) -> None:
    size = GGUF().size(exported("F32").path)
    assert size.parameters == PARAMETERS
    assert size.weight_bytes == 4 * PARAMETERS
    matrices = PARAMETERS - 5 * 64
    assert GGUF().size(exported("Q8_0").path).weight_bytes == matrices // 32 * 34 + 4 * 5 * 64


def test_the_header_reads_as_the_gguf_librarys_reader_reads_it(exported: Exported) -> None:
    from gguf import GGUFReader

    folder = exported("Q4_0").path
    ours, theirs = read_header(folder), GGUFReader(folder / MODEL_FILE)
    assert ours.metadata == {
        key: field.contents() for key, field in theirs.fields.items() if not key.startswith("GGUF.")
    }
    assert {name: (t.kind, t.start, t.end - t.start) for name, t in ours.tensors.items()} == {
        tensor.name: (tensor.tensor_type.name, tensor.data_offset, tensor.n_bytes)
        for tensor in theirs.tensors
    }
    assert ours.tensors["blk.0.attn_k.weight"].shape == (32, 64)


def test_reading_a_folder_imports_no_runtime(exported: Exported) -> None:
    code = (
        "import sys; from pathlib import Path; from modelwright_plugins.format.gguf import GGUF;"
        f"p = Path({str(exported().path)!r}); GGUF().check(p, deep=True); GGUF().size(p);"
        "assert not {'llama_cpp', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1"])
def test_check_accepts_a_whole_file(kind: str, exported: Exported) -> None:
    GGUF().check(exported(kind).path, deep=True)


def test_a_folder_without_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"has no model\.gguf") as caught:
        GGUF().check(tmp_path)
    assert caught.value.accepted == "model.gguf"


def test_a_file_cut_short_is_refused_with_both_sizes(exported: Exported) -> None:
    file = exported("F16").path / MODEL_FILE
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    with pytest.raises(RecipeError, match=rf"needs [\d,]+ bytes and the file has {len(whole) - 100:,}"):
        GGUF().check(file.parent)


@pytest.mark.parametrize("kept", [0, 3, 30, 1000, 4000])
def test_a_header_cut_short_is_refused(kept: int, exported: Exported) -> None:
    file = exported().path / MODEL_FILE
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(RecipeError, match="damaged or cut short: its header does not read"):
        GGUF().check(file.parent)


@pytest.mark.parametrize(
    ("offset", "data", "words"),
    [
        (0, b"GGML", "no GGUF magic"),
        (4, b"\x63\0\0\0", "version 99"),
        (8, b"\xff" * 8, "its header does not read"),
        (16, b"\xff" * 8, "its header does not read"),
        (24, b"\xff" * 8, "it ends too early"),
    ],
)
def test_a_damaged_header_is_refused(offset: int, data: bytes, words: str, exported: Exported) -> None:
    file = exported().path / MODEL_FILE
    overwrite(file, offset, data)
    with pytest.raises(RecipeError, match=words):
        GGUF().check(file.parent)


@pytest.mark.parametrize(
    ("kind", "offset", "bits"),
    [
        ("F32", 40, b"\x00\x00\xc0\x7f"),
        ("F16", 40, b"\x00\x7c"),
        ("BF16", 40, b"\x80\xff"),
        ("Q8_0", 2 * 34, b"\x00\x7e"),
        ("Q4_0", 2 * 18, b"\x00\xfc"),
        ("Q4_1", 2 * 20 + 2, b"\x00\x7c"),
    ],
)
def test_a_deep_check_finds_what_is_not_finite(
    kind: str, offset: int, bits: bytes, exported: Exported
) -> None:
    folder = exported(kind).path
    name = "blk.1.ffn_up.weight"
    overwrite(folder / MODEL_FILE, read_header(folder).tensors[name].start + offset, bits)
    GGUF().check(folder)
    with pytest.raises(RecipeError, match=f"1 values that are NaN or infinite, first in '{name}'"):
        GGUF().check(folder, deep=True)


def test_without_llama_cpp_the_extra_is_named(exported: Exported, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from modelwright.api.model import Model;"
        "from modelwright.api.target import Target; from modelwright_plugins.format.gguf import GGUF;"
        f"GGUF().runner(Model.open(Path({str(exported().path)!r})), Target(threads=1))"
    )
    done = run_without("llama-cpp-python", ["-c", code], tmp_path / "paths")
    assert "MissingError: llama.cpp needs llama-cpp-python" in done.stderr
    assert "pip install 'modelwright[gguf]'" in done.stderr
