"""What llama.cpp computes from an exported file, beside PyTorch and beside its own binding."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright_plugins.export.gguf import ExportGGUF
from modelwright_plugins.format.gguf import GGUF
from modelwright_plugins.format.gguf_runner import GGUFRunner
from modelwright_plugins.format.torch import Torch
from modelwright_plugins.format.torch_causal_runner import TorchCausalRunner
from modelwright_plugins.gguf.header import MODEL_FILE
from tests.plugins.greedy import greedy
from tests.plugins.stage_context import FolderContext

pytest.importorskip("gguf", reason="needs the gguf extra")
llama_cpp = pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")

TARGET = Target(threads=1)
Export = Callable[..., Model]


def test_llama_cpps_quantizer_gives_the_same_bytes_with_any_threads(
    tiny_causal: Model, tmp_path: Path
) -> None:
    digests = {
        FolderContext(tmp_path / str(threads), target=Target(threads=threads))
        .apply(ExportGGUF(type="Q5_K_M"), tiny_causal)
        .digest
        for threads in (1, 2)
    }
    assert len(digests) == 1


def test_greedy_tokens_equal_pytorchs(tiny_causal: Model, export_gguf: Export) -> None:
    theirs = TorchCausalRunner(tiny_causal, TARGET)
    rows = theirs.encode(["def add(a, b):", "the other one"])
    wanted = greedy(theirs, rows, 40)
    for parameters in ({"type": "F32", "cache_precision": "f32"}, {"type": "F16"}):
        assert greedy(GGUFRunner(export_gguf(tiny_causal, **parameters), TARGET), rows, 40) == wanted


def test_the_file_opens_in_plain_llama_cpp(tiny_causal: Model, export_gguf: Export) -> None:
    exported = export_gguf(tiny_causal, type="F16")
    plain = llama_cpp.Llama(str(exported.path / MODEL_FILE), n_ctx=64, n_threads=1, verbose=False)
    tokens = plain.tokenize(b"the other one")
    found = list(itertools.islice(plain.generate(tokens, temp=0.0), 30))
    runner = GGUFRunner(exported, TARGET)
    assert tokens == runner.encode(["the other one"])[0]
    assert found == greedy(runner, [tokens], 30)[0]


def test_eight_bits_stay_close(tiny_causal: Model, export_gguf: Export) -> None:
    texts = ["def add(a, b):", "the other one", "x"]
    wanted = Torch().runner(tiny_causal, TARGET).run(texts)
    found = GGUF().runner(export_gguf(tiny_causal, type="Q8_0"), TARGET).run(texts)
    assert 0 < np.abs(found - wanted).max() < 0.1 * np.abs(wanted).max()
