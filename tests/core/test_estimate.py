"""The arithmetic of an estimate on an anatomy small enough to do it by hand."""

from __future__ import annotations

import pytest

from modelwright.api.anatomy import Anatomy, LayerCache, Module, Shape, Tensor
from modelwright.errors import RecipeError
from modelwright.planning.activations import activations
from modelwright.planning.devices import devices_of, parse_devices, parse_nvidia_smi, parse_size
from modelwright.planning.estimate import CUDA_BYTES, PROCESS_BYTES, Request, estimate, verdict
from modelwright.planning.weight_schemes import SCHEMES, buffer_bytes, weight_bytes

TABLE = Module("embed", (Tensor("weight", (10, 64), "embedding"),))
LAYER = Module("layers.0", whole=True)
MATRIX = Module("layers.0.proj", (Tensor("weight", (32, 72), "linear", 72), Tensor("bias", (32,), "other")))
NORM = Module("norm", (Tensor("weight", (64,), "norm"),))
MASK = Module("mask", (Tensor("bias", (8, 8), "buffer", item_bytes=1), Tensor("scale", (3,), "buffer")))
HEAD = Module("head", (Tensor("weight", (10, 64), "head", 64),))
REST = 640 + 32 + 64


def small(*modules: Module, **fields: object) -> Anatomy:
    return Anatomy.model_validate(
        {
            "architecture": "Small",
            "model_type": "small",
            "dtype": "bfloat16",
            "modules": modules or (TABLE, LAYER, MATRIX, NORM, MASK, HEAD),
            **fields,
        }
    )


TIED = small(
    TABLE,
    LAYER,
    MATRIX,
    NORM,
    Module("head"),
    tied=(("head.weight", "embed.weight"),),
    shape=Shape(hidden=64, vocabulary=10),
)


def test_parameters_go_by_group_and_buffers_are_none():
    assert small().parameters == REST + 32 * 72 + 640
    assert small().groups == {"embedding": 640, "linear": 2304, "head": 640, "norm": 64, "other": 32}
    assert small().largest_tensor == 2304


@pytest.mark.parametrize(
    ("dtype", "matrix", "head"),
    [
        ("fp32", 4 * 2304, 4 * 640),
        ("bf16", 2 * 2304, 2 * 640),
        ("int8", 2304 + 4 * 32, 2 * 640),  # a scale of 4 bytes for each of 32 outputs
        ("nf4", 2304 / 2 + 4 * 36, 2 * 640),  # 2,304 values are 36 blocks of 64, wherever rows end
        ("int4", 2304 / 2 + 2 * 32 * 3, 640 / 2 + 2 * 10 * 2),  # 72 inputs are 3 blocks of 32, 64 are 2
    ],
)
def test_weights_by_hand(dtype: str, matrix: float, head: float):
    rest = (4 if dtype == "fp32" else 2) * REST
    assert weight_bytes(small(), dtype) == rest + matrix + head


def test_a_tied_head_counts_once_until_it_is_quantized_beside_the_embedding():
    assert weight_bytes(TIED, "bf16") == 2 * (REST + 2304)
    copy = 640 / 2 + 2 * 10 * 2
    assert weight_bytes(TIED, "int4") == 2 * REST + (2304 / 2 + 2 * 32 * 3) + copy
    assert weight_bytes(TIED, "nf4") == weight_bytes(small(TABLE, MATRIX, NORM), "nf4")


def test_buffers_keep_their_own_size():
    assert buffer_bytes(small(), "bf16") == 64 + 3 * 2
    assert buffer_bytes(small(), "fp32") == 64 + 3 * 4


def test_every_scheme_says_what_it_is():
    assert all("bits" in scheme.what for scheme in SCHEMES.values())


def test_a_window_caps_the_cache_of_its_layer_alone():
    anatomy = small(caches=(LayerCache(100, window=16), LayerCache(10)))
    assert anatomy.cache_elements_per_token == 110
    assert anatomy.cache_elements(3, 8) == 3 * 8 * 110
    assert anatomy.cache_elements(3, 20) == 3 * (16 * 100 + 20 * 10)
    assert (anatomy.sliding_window, anatomy.windowed_layers) == (16, (0,))


SHAPE = Shape(
    layers=1,
    hidden=64,
    intermediate=256,
    heads=4,
    kv_heads=4,
    head_dim=16,
    value_dim=16,
    vocabulary=10,
    context_length=32,
    generates=True,
)
GENERATING = {"shape": SHAPE, "caches": (LayerCache(128),)}


def test_eager_attention_holds_scores_that_grow_with_the_square():
    anatomy = small(**GENERATING)
    for length in (16, 32):
        fused, eager = (activations(anatomy, 2, length, 4, kind) for kind in ("fused", "eager"))
        assert fused is not None
        assert eager is not None
        assert eager.attention - fused.attention == 2 * 4 * length * length * SHAPE.score_bytes


def test_totals_add_up_and_are_judged_per_device():
    anatomy = small(**GENERATING)
    request = Request(batch=2, length=16, devices={0: 10**9, "cpu": 400_000_000})
    result = estimate(anatomy, request)
    assert result.activations is not None
    assert result.cache is not None
    assert result.totals is not None
    assert result.cache.bytes == {"fp32": 2 * 16 * 128 * 4, "fp16": 2 * 16 * 128 * 2}
    total = (
        result.weights["bf16"]
        + result.cache.bytes["fp16"]
        + result.activations.generate
        + buffer_bytes(anatomy, "bf16")
    )
    assert result.totals["bf16"] == total
    gpu, cpu = result.fits["bf16"]
    assert (gpu.device, gpu.needed, gpu.verdict) == ("gpu0", total + CUDA_BYTES, "fits")
    assert (cpu.device, cpu.needed, cpu.verdict) == ("cpu", total + PROCESS_BYTES, "tight")
    assert result.placement is not None
    assert result.placement.device_map == {"": 0}


def test_a_cache_that_a_runtime_repeats_counts_in_totals():
    once = estimate(small(**GENERATING), Request(length=16))
    shape = SHAPE.model_copy(update={"cache_copies": 4})
    repeated = estimate(small(shape=shape, caches=(LayerCache(128),)), Request(length=16))
    assert once.totals is not None
    assert repeated.totals is not None
    assert repeated.totals["bf16"] - once.totals["bf16"] >= 3 * 16 * 128 * 2
    assert repeated.cache == once.cache
    assert "4 times" in repeated.notes[0]


def test_what_is_not_known_is_not_made_up():
    result = estimate(small(), Request(devices={"cpu": 10**9}))
    assert result.weights["fp32"] == 4 * small().parameters
    assert (result.cache, result.activations, result.totals, result.fits) == (None, None, None, {})


def test_a_length_past_the_context_is_told():
    result = estimate(small(**GENERATING), Request(length=33))
    assert result.notes == ["33 tokens are more than the model's context of 32"]


def test_a_stored_dtype_without_a_scheme_is_told():
    result = estimate(small(dtype="float8_e4m3fn"), Request())
    assert result.dtype == "bf16"
    assert "float8_e4m3fn" in result.notes[0]


@pytest.mark.parametrize(
    ("needed", "said"), [(90, "fits"), (91, "tight"), (100, "tight"), (101, "does not fit")]
)
def test_verdicts(needed: int, said: str):
    assert verdict(needed, 100) == said


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("24GiB", 24 * 2**30),
        ("24 GB", 24 * 10**9),
        ("1.5MiB", 3 * 2**19),
        ("512", 512),
        ("7gib", 7 * 2**30),
        ("1TB", 10**12),
    ],
)
def test_sizes(text: str, size: int):
    assert parse_size(text, "--device") == size


@pytest.mark.parametrize("text", ["", "GiB", "-3GiB", "0", "0GiB", "24QB", "1e9", "nan", "24GiBs", "٣GiB"])
def test_sizes_that_are_none(text: str):
    with pytest.raises(RecipeError, match="is no amount of memory"):
        parse_size(text, "--device")


def test_devices_by_the_names_people_use():
    assert parse_devices(["gpu1=2GB", "cuda:0=1GB", "cpu=3GB"], "") == {
        1: 2 * 10**9,
        0: 10**9,
        "cpu": 3 * 10**9,
    }


@pytest.mark.parametrize(
    ("texts", "what"),
    [
        (["gpu0"], "'gpu0' is no device with its memory."),
        (["tpu0=1GB"], "There is no kind of device 'tpu0'."),
        (["gpu=1GB"], "There is no kind of device 'gpu'."),
        (["gpu0=1GB", "cuda0=2GB"], "The device 'cuda0' is given twice."),
    ],
)
def test_devices_that_are_none(texts: list[str], what: str):
    with pytest.raises(RecipeError) as caught:
        parse_devices(texts, "--device")
    assert caught.value.what == what


def test_sizes_from_a_mapping_may_be_numbers():
    assert devices_of([("cpu", 1024)], "devices") == {"cpu": 1024}


def test_nvidia_smi_is_read_line_by_line():
    text = "0, 143771\n1, 24564\n2, [N/A]\nNo devices were found\n"
    assert parse_nvidia_smi(text) == {0: 143771 * 2**20, 1: 24564 * 2**20}
