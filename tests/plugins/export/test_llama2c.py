from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from modelwright.api.model import Model
from modelwright.errors import RecipeError, StageError
from modelwright.testing.conformance import StageConformance
from modelwright.testing.tiny_causal import write_tiny_causal
from modelwright_plugins.export.llama2c import ExportLlama2c
from tests.plugins.stage_context import FolderContext
from tests.plugins.tiny_llama import change_json, open_checkpoint, save_tiny_llama


class TestConformance(StageConformance):
    stage = ExportLlama2c
    task = "generate"


class TestConformanceInt8(StageConformance):
    stage = ExportLlama2c
    parameters: ClassVar = {"version": 2, "group_size": 32}
    task = "generate"


# Two layers, hidden 64, inner 128, heads 4 and 2 of width 16, vocabulary 264, context 64, tied: the first
# byte of each tensor, added up by hand in the order in which run.c and runq.c read.
FIGURES = (64, 128, 2, 4, 2, 264, 64)
OFFSETS = {
    0: {
        "embedding": 28,
        "attention_norm": 67612,
        "wq": 68124,
        "wk": 100892,
        "wv": 117276,
        "wo": 133660,
        "ffn_norm": 166428,
        "w1": 166940,
        "w2": 232476,
        "w3": 298012,
        "norm": 363548,
        "cos": 363804,
        "sin": 365852,
        "end": 367900,
    },
    1: {
        "attention_norm": 256,
        "ffn_norm": 768,
        "norm": 1280,
        "embedding": 1536,
        "wq": 69120,
        "wk": 101888,
        "wv": 118272,
        "wo": 134656,
        "w1": 167424,
        "w2": 232960,
        "w3": 298496,
        "end": 364032,
    },
    2: {
        "attention_norm": 256,
        "ffn_norm": 768,
        "norm": 1280,
        "embedding": 1536,
        "wq": 19488,
        "wk": 28192,
        "wv": 32544,
        "wo": 36896,
        "w1": 45600,
        "w2": 63008,
        "w3": 80416,
        "end": 97824,
    },
}
PROJECTIONS = {
    "wq": "self_attn.q_proj",
    "wk": "self_attn.k_proj",
    "wv": "self_attn.v_proj",
    "wo": "self_attn.o_proj",
    "w1": "mlp.gate_proj",
    "w2": "mlp.down_proj",
    "w3": "mlp.up_proj",
}
NORMS = {"attention_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return open_checkpoint(write_tiny_causal(tmp_path_factory.mktemp("checkpoint")))


def export(model: Model, folder: Path, **parameters: Any) -> bytes:
    return (FolderContext(folder).apply(ExportLlama2c(**parameters), model).path / "model.bin").read_bytes()


def floats(data: bytes, start: int, *shape: int) -> np.ndarray:
    return np.frombuffer(data, "<f4", int(np.prod(shape)), start).reshape(shape)


def paired(rows: np.ndarray) -> np.ndarray:
    """Rows of heads of 16 with the first of each half side by side, one row at a time."""
    order = [
        head * 16 + half * 8 + pair for head in range(len(rows) // 16) for pair in range(8) for half in (0, 1)
    ]
    return rows[order]


def expected(weights: dict[str, np.ndarray], name: str, layer: int) -> np.ndarray:
    rows = weights[f"model.layers.{layer}.{PROJECTIONS[name]}.weight"]
    return paired(rows) if name in ("wq", "wk") else rows


@pytest.mark.parametrize("version", [0, 1])
def test_every_float_lies_where_run_c_reads_it(checkpoint: Model, tmp_path: Path, version: int) -> None:
    data = export(checkpoint, tmp_path / "run", version=version)
    weights, at = load_file(checkpoint.path / "model.safetensors"), OFFSETS[version]
    assert len(data) == at["end"]
    np.testing.assert_array_equal(
        floats(data, at["embedding"], 264, 64), weights["model.embed_tokens.weight"]
    )
    np.testing.assert_array_equal(floats(data, at["norm"], 64), weights["model.norm.weight"])
    for layer in range(2):
        for name, source in NORMS.items():
            found = floats(data, at[name] + layer * 256, 64)
            np.testing.assert_array_equal(found, weights[f"model.layers.{layer}.{source}.weight"])
        for name in PROJECTIONS:
            wanted = expected(weights, name, layer)
            found = floats(data, at[name] + layer * wanted.nbytes, *wanted.shape)
            np.testing.assert_array_equal(found, wanted)


def test_version_0_starts_with_seven_integers_and_ends_with_the_rotary_tables(
    checkpoint: Model, tmp_path: Path
) -> None:
    data, at = export(checkpoint, tmp_path / "run", version=0), OFFSETS[0]
    assert struct.unpack("<7i", data[:28]) == FIGURES
    angles = np.outer(np.arange(64), 10000.0 ** -(np.arange(8) / 8))
    np.testing.assert_allclose(floats(data, at["cos"], 64, 8), np.cos(angles), atol=1e-5)
    np.testing.assert_allclose(floats(data, at["sin"], 64, 8), np.sin(angles), atol=1e-5)


@pytest.mark.parametrize(("version", "group"), [(1, b""), (2, struct.pack("<i", 64))])
def test_versions_1_and_2_have_a_header_of_256_bytes(
    checkpoint: Model, tmp_path: Path, version: int, group: bytes
) -> None:
    data = export(checkpoint, tmp_path / "run", version=version)
    assert data[:4] == b"24ka"  # 0x616b3432, little-endian
    assert struct.unpack("<i7i", data[4:36]) == (version, *FIGURES)
    assert data[36:256] == (b"\x01" + group).ljust(220, b"\0")


def test_version_2_holds_int8_and_then_the_scales_of_each_tensor(checkpoint: Model, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="quantizes as llama2.c's export does, in PyTorch")
    data = export(checkpoint, tmp_path / "run", version=2)
    weights, at = load_file(checkpoint.path / "model.safetensors"), OFFSETS[2]
    assert len(data) == at["end"]

    def check(start: int, wanted: np.ndarray) -> int:
        groups = torch.from_numpy(wanted).reshape(-1, 64)
        scales = groups.abs().max(dim=1).values / 127.0
        rounded = torch.round(groups / scales[:, None]).to(torch.int8)
        found = np.frombuffer(data, np.int8, wanted.size, start)
        np.testing.assert_array_equal(found, rounded.numpy().reshape(-1))
        np.testing.assert_array_equal(floats(data, start + wanted.size, len(scales)), scales.numpy())
        return start + wanted.size + 4 * len(scales)

    check(at["embedding"], weights["model.embed_tokens.weight"])
    for name in PROJECTIONS:
        start = at[name]
        for layer in range(2):
            start = check(start, expected(weights, name, layer))
    np.testing.assert_array_equal(floats(data, at["norm"], 64), weights["model.norm.weight"])


@pytest.mark.parametrize("version", [0, 1, 2])
def test_a_head_of_its_own_is_written_last_and_told_in_the_header(tmp_path: Path, version: int) -> None:
    model = save_tiny_llama(tmp_path / "checkpoint", length=64, head=True)
    data, end = export(model, tmp_path / "run", version=version), OFFSETS[version]["end"]
    head = load_file(model.path / "model.safetensors")["lm_head.weight"]
    assert len(data) == end + (head.size + 4 * 264 if version == 2 else head.nbytes)
    if version < 2:
        np.testing.assert_array_equal(floats(data, end, 264, 64), head)
    if version == 0:
        assert struct.unpack("<7i", data[:28]) == (64, 128, 2, 4, 2, -264, 64)
    else:
        assert data[36] == 0


def test_a_stored_head_of_the_embeddings_values_is_shared(checkpoint: Model, tmp_path: Path) -> None:
    model = save_tiny_llama(tmp_path / "checkpoint", length=64, head=True)
    weights = load_file(model.path / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    save_file(weights, model.path / "model.safetensors")
    again = export(open_checkpoint(model.path), tmp_path / "run", version=1)
    assert again == export(checkpoint, tmp_path / "tied", version=1)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_widened_exactly(checkpoint: Model, tmp_path: Path, dtype: str) -> None:
    torch = pytest.importorskip("torch", reason="casts in PyTorch")
    torch_save = pytest.importorskip("safetensors.torch", reason="casts in PyTorch").save_file
    half = {
        name: torch.from_numpy(value).to(getattr(torch, dtype))
        for name, value in load_file(checkpoint.path / "model.safetensors").items()
    }
    folders = [write_tiny_causal(tmp_path / name) for name in ("half", "wide")]
    torch_save(half, folders[0] / "model.safetensors")
    save_file({name: value.float().numpy() for name, value in half.items()}, folders[1] / "model.safetensors")
    first, second = (
        export(open_checkpoint(folder), tmp_path / f"run-{folder.name}", version=1) for folder in folders
    )
    assert first == second


@pytest.mark.parametrize(
    ("asked", "inner", "written"), [(64, 128, 64), (64, 96, 32), (48, 128, 1), (256, 128, 64)]
)
def test_the_group_size_is_halved_until_rows_are_whole_groups(
    tmp_path: Path, asked: int, inner: int, written: int
) -> None:
    folder = write_tiny_causal(tmp_path / "checkpoint")
    weights = load_file(folder / "model.safetensors")
    for name, value in weights.items():
        if ".mlp." in name:
            weights[name] = np.ascontiguousarray(value[:, :inner] if "down" in name else value[:inner])
    save_file(weights, folder / "model.safetensors")
    change_json(folder / "config.json", intermediate_size=inner)
    data = export(open_checkpoint(folder), tmp_path / "run", version=2, group_size=asked)
    assert struct.unpack("<i", data[37:41]) == (written,)


def test_the_report_says_what_was_written(checkpoint: Model, tmp_path: Path) -> None:
    ctx = FolderContext(tmp_path)
    result = ctx.apply(ExportLlama2c(version=2), checkpoint)
    assert result.spec.dtype == "int8"
    header = ctx.records["header"]
    assert isinstance(header, dict)
    assert (header["shared"], header["group_size"], header["length"]) == (True, 64, 64)
    assert ctx.steps[-1][0] == ctx.steps[-1][1] == 20


REFUSED = [
    ({"architectures": ["MistralForCausalLM"]}, "runs Llama alone", "architectures"),
    ({"attention_bias": True}, "biases", "attention_bias"),
    ({"mlp_bias": True}, "biases", "mlp_bias"),
    ({"hidden_act": "gelu"}, "activation 'gelu'", "hidden_act"),
    ({"rms_norm_eps": 1e-6}, "always add 1e-05", "rms_norm_eps"),
    ({"rms_norm_eps": None}, "adds 1e-06", "rms_norm_eps"),
    ({"rms_norm_eps": "small"}, "gives rms_norm_eps as 'small'", "rms_norm_eps"),
    ({"rope_theta": 500000.0}, "base 500000", "rope_theta"),
    ({"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}, "base 500000", "rope_parameters"),
    ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, "scales its rotary", "rope_parameters"),
    ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "(linear)", "rope_scaling"),
    ({"partial_rotary_factor": 0.5}, "only a part of each head", "partial_rotary_factor"),
    ({"head_dim": 32}, "4 heads of 32", "head_dim"),
    ({"num_key_value_heads": 3}, "for 3 of keys", "num_key_value_heads"),
    ({"sliding_window": 32}, "looks back 32 tokens", "sliding_window"),
    ({"quantization_config": {"bits": 4}}, "quantized weights", "quantization_config"),
    ({"num_key_value_heads": None}, "'model.layers.0.self_attn.k_proj.weight' is 32×64", "config.json"),
    ({"vocab_size": 300}, "implies 300×64", "config.json"),
    ({"num_hidden_layers": 3}, "lack 'model.layers.2.input_layernorm.weight'", "checkpoint"),
    ({"tie_word_embeddings": False}, "hold no lm_head", "tie_word_embeddings"),
]


@pytest.mark.parametrize(("changes", "words", "where"), REFUSED, ids=[str(case[0]) for case in REFUSED])
def test_what_the_format_cannot_express_is_refused(
    tmp_path: Path, changes: dict[str, Any], words: str, where: str
) -> None:
    # Described while it was sound: some of these are refused by the description already.
    model = open_checkpoint(write_tiny_causal(tmp_path / "checkpoint"))
    change_json(model.path / "config.json", **changes)
    ctx = FolderContext(tmp_path / "run")
    with pytest.raises(RecipeError) as caught:
        ctx.apply(ExportLlama2c(), model)
    assert words in caught.value.what
    assert where in (caught.value.where or "")
    assert not any(ctx.out.iterdir())


def test_another_architecture_is_refused_in_the_plan(checkpoint: Model) -> None:
    spec = checkpoint.spec.model_copy(update={"architecture": "Qwen2ForCausalLM"})
    with pytest.raises(RecipeError, match="runs Llama alone, and this model is Qwen2ForCausalLM"):
        ExportLlama2c().check(spec)


def test_a_weight_that_is_not_finite_fails_the_step(tmp_path: Path) -> None:
    folder = write_tiny_causal(tmp_path / "checkpoint")
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][3, 5] = np.nan
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(StageError, match=r"'model\.layers\.1\.mlp\.up_proj\.weight' holds NaN"):
        export(open_checkpoint(folder), tmp_path / "run", version=2)


def test_weights_of_integers_are_refused(tmp_path: Path) -> None:
    folder = write_tiny_causal(tmp_path / "checkpoint")
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = np.ones(64, np.int8)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(RecipeError, match=r"'model\.norm\.weight' is stored as I8"):
        export(open_checkpoint(folder), tmp_path / "run")
