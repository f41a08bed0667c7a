from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors.numpy import load_file

from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.testing.absence import path_without
from modelwright.testing.conformance import StageConformance
from modelwright.testing.stage_runs import StageRuns
from modelwright_plugins.export.gguf import ExportGGUF
from modelwright_plugins.format.gguf import GGUF
from modelwright_plugins.format.torch import Torch
from modelwright_plugins.gguf.header import MODEL_FILE, read_header
from tests.plugins.stage_context import FolderContext

pytest.importorskip("gguf", reason="needs the gguf extra")

TARGET = Target(threads=1)
NEEDS_LLAMA_CPP = pytest.mark.skipif(find_spec("llama_cpp") is None, reason="needs llama-cpp-python")
HEADS, KEPT_HEADS, WIDTH = 4, 2, 16
PARTS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
NAMES = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"} | {
    f"blk.{layer}.{ours}.weight": f"model.layers.{layer}.{theirs}.weight"
    for layer in range(2)
    for ours, theirs in PARTS.items()
}

Export = Callable[..., Model]
Changed = Callable[..., Model]


def read_back(model: Model) -> dict[str, NDArray[np.float32]]:
    """The tensors as the gguf library's own reader gives them, dequantized, rows first."""
    from gguf import GGUFReader
    from gguf.quants import dequantize

    tensors = GGUFReader(model.path / MODEL_FILE).tensors
    return {
        tensor.name: np.array(dequantize(tensor.data, tensor.tensor_type)).reshape(
            tensor.shape[::-1].tolist()
        )
        for tensor in tensors
    }


def metadata(model: Model) -> dict[str, Any]:
    from gguf import GGUFReader

    return {key: field.contents() for key, field in GGUFReader(model.path / MODEL_FILE).fields.items()}


def permuted(matrix: NDArray[Any], heads: int) -> NDArray[Any]:
    """Row 2i of a head is the checkpoint's row i, row 2i + 1 its row i + half."""
    rows = [
        head * WIDTH + half * WIDTH // 2 + pair
        for head in range(heads)
        for pair in range(WIDTH // 2)
        for half in range(2)
    ]
    return np.asarray(matrix[rows])


def expected(model: Model) -> dict[str, NDArray[np.float32]]:
    tensors = load_file(model.path / "model.safetensors")
    found = {ours: tensors[theirs] for ours, theirs in NAMES.items()}
    heads = {"attn_q": HEADS, "attn_k": KEPT_HEADS}
    return {
        name: permuted(values, heads[part]) if (part := name.split(".")[-2]) in heads else values
        for name, values in found.items()
    }


# The largest error in a block of 32, as a share of its largest magnitude: half a step, or a whole one at the
# end that the asymmetric types cut off, and the rounding of the scale to float16.
SCALE = 2**-11
STEPS = {
    "F32": 0,
    "F16": 2**-11,
    "BF16": 2**-8,
    "Q8_0": 0.5 / 127 + SCALE,
    "Q5_0": 1 / 16 + SCALE,
    "Q4_0": 1 / 8 + SCALE,
}


@pytest.mark.parametrize("kind", STEPS)
def test_tensors_are_the_checkpoints_within_the_types_error(
    tiny_causal: Model, export_gguf: Export, kind: str
) -> None:
    found = read_back(export_gguf(tiny_causal, type=kind, output_type=kind))
    wanted = expected(tiny_causal)
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        if values.ndim == 1:
            np.testing.assert_array_equal(found[name], values)
            continue
        blocks = values.reshape(-1, 32)
        error = np.abs(found[name].reshape(-1, 32) - blocks).max(axis=1)
        assert (error <= STEPS[kind] * np.abs(blocks).max(axis=1)).all(), name
        assert STEPS[kind] == 0 or error.any(), f"{name} is not stored as {kind}"


@pytest.mark.parametrize("stored", ["BF16", "F16"])
def test_half_precision_checkpoints_are_kept_bit_for_bit(
    tiny_causal: Model, export_gguf: Export, tmp_path: Path, stored: str
) -> None:
    half = half_precision(tiny_causal, tmp_path / "half", stored)
    from gguf import GGUFReader

    before = load_bits(half.path / "model.safetensors")
    after = {
        tensor.name: tensor for tensor in GGUFReader(export_gguf(half, type=stored).path / MODEL_FILE).tensors
    }
    table = after["blk.1.ffn_down.weight"]
    assert table.tensor_type.name == stored
    assert table.data.tobytes() == before["model.layers.1.mlp.down_proj.weight"]


def half_precision(model: Model, folder: Path, stored: str) -> Model:
    torch = pytest.importorskip("torch", reason="writes half-precision safetensors")
    from safetensors.torch import load_file as load_torch
    from safetensors.torch import save_file as save_torch

    shutil.copytree(model.path, folder)
    dtype = {"BF16": torch.bfloat16, "F16": torch.float16}[stored]
    tensors = load_torch(folder / "model.safetensors")
    save_torch({key: value.to(dtype) for key, value in tensors.items()}, folder / "model.safetensors")
    return Model(folder, Torch().describe(folder), "")


def load_bits(file: Path) -> dict[str, bytes]:
    from modelwright_plugins.format.safetensors_header import read_header as read_safetensors

    data = file.read_bytes()
    return {name: data[entry.start : entry.end] for name, entry in read_safetensors(file).items()}


def test_metadata_says_what_the_configuration_says(tiny_causal: Model, export_gguf: Export) -> None:
    said = metadata(export_gguf(tiny_causal, type="Q8_0"))
    assert said["general.architecture"] == "llama"
    assert said["general.file_type"] == 7
    assert {key: said[f"llama.{key}"] for key in ("context_length", "embedding_length", "block_count")} == {
        "context_length": 64,
        "embedding_length": 64,
        "block_count": 2,
    }
    assert (said["llama.attention.head_count"], said["llama.attention.head_count_kv"]) == (4, 2)
    assert said["llama.attention.layer_norm_rms_epsilon"] == pytest.approx(1e-5)
    assert said["llama.rope.freq_base"] == 10000.0
    assert said["llama.rope.dimension_count"] == 16


def test_the_head_keeps_eight_bits_and_takes_those_asked_for(tiny_causal: Model, export_gguf: Export) -> None:
    head = "token_embd.weight"
    assert read_header(export_gguf(tiny_causal, type="Q4_0").path).tensors[head].kind == "Q8_0"
    asked = read_header(export_gguf(tiny_causal, type="Q4_0", output_type="Q4_0").path).tensors
    assert {tensor.kind for tensor in asked.values()} == {"F32", "Q4_0"}


def test_an_untied_head_is_written_and_the_embeddings_take_the_files_type(
    changed_causal: Changed, export_gguf: Export
) -> None:
    def untie(tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return {**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"] * 2}

    model = changed_causal({"tie_word_embeddings": False}, untie)
    tensors = read_header(export_gguf(model, type="Q4_0").path).tensors
    assert (tensors["output.weight"].kind, tensors["token_embd.weight"].kind) == ("Q8_0", "Q4_0")


def test_rows_that_a_block_does_not_divide_become_f16_and_are_reported(
    changed_causal: Changed, tmp_path: Path
) -> None:
    def narrow(tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        cut: dict[str, Any] = {"gate_proj": np.s_[:100], "up_proj": np.s_[:100], "down_proj": np.s_[:, :100]}
        return {
            key: np.ascontiguousarray(value[cut[part]]) if (part := key.split(".")[-2]) in cut else value
            for key, value in tensors.items()
        }

    context = FolderContext(tmp_path / "export")
    result = context.apply(ExportGGUF(type="Q4_0"), changed_causal({"intermediate_size": 100}, narrow))
    assert context.records["fallbacks"] == {f"blk.{i}.ffn_down.weight": "Q4_0 -> F16" for i in range(2)}
    assert context.records["tensor_types"] == {"F32": 5, "Q8_0": 1, "Q4_0": 12, "F16": 2}
    assert read_header(result.path).tensors["blk.0.ffn_down.weight"].kind == "F16"


def test_the_same_checkpoint_gives_the_same_bytes_wherever_it_lies(
    tiny_causal: Model, export_gguf: Export, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_causal.path, tmp_path / "elsewhere")
    other = Model(folder, tiny_causal.spec, tiny_causal.digest)
    assert export_gguf(tiny_causal, type="Q4_0").digest == export_gguf(other, type="Q4_0").digest


def test_a_sharded_checkpoint_gives_the_same_file(
    tiny_causal: Model, sharded_causal: Model, export_gguf: Export
) -> None:
    one, other = export_gguf(tiny_causal), export_gguf(sharded_causal)
    assert (one.path / MODEL_FILE).read_bytes() == (other.path / MODEL_FILE).read_bytes()


def test_it_needs_neither_torch_nor_llama_cpp(tiny_causal: Model, tmp_path: Path) -> None:
    tiny_causal.spec.write(folder := shutil.copytree(tiny_causal.path, tmp_path / "checkpoint"))
    code = (
        "import sys; from pathlib import Path; from modelwright.api.model import Model;"
        "from modelwright_plugins.export.gguf import ExportGGUF;"
        "from tests.plugins.stage_context import FolderContext;"
        f"ctx = FolderContext(Path({str(tmp_path / 'export')!r}));"
        f"ctx.apply(ExportGGUF(type='Q4_0'), Model.open(Path({str(folder)!r})));"
        "assert ctx.records['tokenizer']['verified']['compared'] == 0;"
        "assert not {'torch', 'llama_cpp'} & set(sys.modules)"
    )
    paths = path_without(["llama-cpp-python"], tmp_path / "paths")
    root = str(Path(__file__).parents[3])
    env = {"PYTHONPATH": ":".join([root, *paths])}
    subprocess.run([sys.executable, "-S", "-c", code], check=True, env=env)


def test_a_configuration_without_key_value_heads_takes_them_from_the_weights(
    tiny_causal: Model, changed_causal: Changed, export_gguf: Export
) -> None:
    model = changed_causal({"num_key_value_heads": None})
    assert metadata(export_gguf(model))["llama.attention.head_count_kv"] == 2


def test_a_copy_of_tied_embeddings_is_stored_once(changed_causal: Changed, export_gguf: Export) -> None:
    def copied(tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return {**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"].copy()}

    assert "output.weight" not in read_header(export_gguf(changed_causal(None, copied)).path).tensors


def test_a_sliding_window_ends_the_context(changed_causal: Changed, tmp_path: Path) -> None:
    model = changed_causal({"architectures": ["MistralForCausalLM"], "sliding_window": 40})
    context = FolderContext(tmp_path / "export")
    result = context.apply(ExportGGUF(type="F32"), model)
    assert result.spec.max_length == metadata(result)["llama.context_length"] == 40
    assert context.records["context"] == {"tokens": 40, "limited_by": "sliding_window"}


def test_the_prediction_is_the_files_size(tiny_causal: Model, export_gguf: Export) -> None:
    for kind in ("F32", "F16", "Q8_0"):
        predicted = ExportGGUF(type=kind).footprint(Torch().size(tiny_causal.path)).result
        found = GGUF().size(export_gguf(tiny_causal, type=kind).path)
        assert predicted.parameters == found.parameters
        assert predicted.weight_bytes == pytest.approx(found.weight_bytes, rel=0.03)


def test_the_folder_needs_nothing_from_the_checkpoint(tiny_causal: Model, export_gguf: Export) -> None:
    result = export_gguf(tiny_causal, type="Q8_0", cache_precision="f32")
    files = {file.name for file in result.path.iterdir()}
    assert {"model.gguf", "config.json", "tokenizer.json", "modelwright.json"} <= files
    assert (result.spec.format, result.spec.dtype) == ("gguf", "Q8_0")
    assert result.spec.details == {"cache_precision": "f32", "flash_attention": True}


@NEEDS_LLAMA_CPP
def test_llama_cpps_own_mixtures_and_their_stand_ins(tiny_causal: Model, tmp_path: Path) -> None:
    context = FolderContext(tmp_path / "export")
    result = context.apply(ExportGGUF(type="Q4_K_M"), tiny_causal)
    fallbacks = context.records["fallbacks"]
    assert isinstance(fallbacks, dict)
    assert fallbacks["blk.0.attn_q.weight"] == "Q4_K_M -> Q5_0"  # 64 columns are no block of 256
    assert metadata(result)["general.file_type"] == 15
    for name, values in expected(tiny_causal).items():
        error = np.abs(read_back(result)[name] - values).max()
        assert error <= np.abs(values).max() / 15, name


class TestExportGGUF(StageConformance):
    stage = ExportGGUF
    parameters: ClassVar[Mapping[str, Any]] = {"type": "Q8_0"}
    task = "generate"
    target: ClassVar[Mapping[str, Any] | None] = {"threads": 1}

    @NEEDS_LLAMA_CPP
    def test_its_result_runs(self, run_stage: StageRuns, tmp_path: Path) -> None:
        super().test_its_result_runs(run_stage, tmp_path)


def test_a_cache_in_eight_bits_needs_fused_attention() -> None:
    with pytest.raises(ValidationError, match="q8_0 needs flash_attention"):
        ExportGGUF.model_validate({"type": "Q8_0", "cache_precision": "q8_0", "flash_attention": False})
