"""GPTQ by llm-compressor on the same windows of text, at the same bits."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.compression.language_chains import CALIBRATED
from benchmarks.compression.made import Chain
from benchmarks.encoder.environment import call, ensure
from benchmarks.encoder.peers import Peer
from modelwright.api.dataset import text_of
from modelwright.api.model import Model
from modelwright.digest import digest_file, digest_folder, digest_json
from modelwright_plugins.dataset.python_docs import PythonDocs
from modelwright_plugins.text.calibration import run_together
from modelwright_plugins.text.companions import copy_companions
from modelwright_plugins.text.prompts import PromptTokenizer

LLM_COMPRESSOR = Peer(
    "llm-compressor",
    ("llmcompressor==0.14.0.1", "transformers==5.17.0"),
    Path(__file__).with_name("make_llm_compressor.py"),
    "compressed_tensors",
    "model.safetensors",
)
BITS = (3, 4, 8)
ORDERS = {
    False: "",
    True: ", act-order",
}  # llm-compressor calls it static, and takes it where nothing is said
GROUP = 32
TIMEOUT = 1800


def chains() -> dict[str, Chain]:
    """Ours, by the name shown."""
    return {
        f"{bits} bits{words}, ours": {
            "quantize": {
                "use": "quantize.gptq",
                **CALIBRATED,
                "bits": bits,
                "group_size": GROUP,
                "act_order": order,
            }
        }
        for bits in BITS
        for order, words in ORDERS.items()
    }


def theirs(reference: Model, ours: dict[str, Model], work: Path) -> Iterator[tuple[str, Model]]:
    """The peer's model for each of ours, made where it is not there yet."""
    python = ensure(LLM_COMPRESSOR, work / "llm-compressor")
    windows = work / "windows.npy"
    np.save(windows, _windows(reference))
    of = digest_json([reference.digest, digest_file(windows), digest_file(LLM_COMPRESSOR.script)])[:12]
    for bits, order in itertools.product(BITS, ORDERS):
        out = work / f"llm-compressor-{of}-{bits}-{'static' if order else 'none'}"
        if not (out / LLM_COMPRESSOR.model).is_file():
            shutil.rmtree(out, ignore_errors=True)
            script = [str(python), str(LLM_COMPRESSOR.script)]
            call(
                [*script, str(reference.path), str(windows), str(out), str(bits), str(GROUP), str(order)],
                TIMEOUT,
            )
            copy_companions(reference.path, out)
        yield (
            f"{bits} bits{ORDERS[order]}, llm-compressor",
            dataclasses.replace(
                ours[f"{bits} bits{ORDERS[order]}, ours"], path=out, digest=digest_folder(out)
            ),
        )


def _windows(reference: Model) -> np.ndarray:
    """The token ids that our stage calibrates on with seed 0, [windows, length]."""
    generation = reference.spec.generation
    assert generation is not None, "the reference generates"
    texts = [text_of(record) for record in PythonDocs(form="text").load(CALIBRATED["split"])]
    random.Random(0).shuffle(texts)
    shape = CALIBRATED["samples"], CALIBRATED["length"]
    tokens = run_together(PromptTokenizer(reference.path, generation), generation, texts, math.prod(shape))
    return np.array(tokens[: math.prod(shape)]).reshape(shape)
