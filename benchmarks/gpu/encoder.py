"""MiniLM in float16 over batches and lengths: PyTorch's ways to run it, ONNX Runtime with CUDA, TensorRT."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.steps import CUDA, EXPORT, TARGETS, recordings, usable_libraries
from benchmarks.gpu.timing import Call, free, peak_bytes, replayed, take_turns
from benchmarks.models.steps import run_stages
from modelwright.api.model import Model
from modelwright.api.target import TensorRTLibrary
from modelwright_plugins.format.onnx_capture import NOT_CAPTURED, run_options
from modelwright_plugins.format.onnx_session import open_session
from modelwright_plugins.format.tensorrt_engine import LoadedEngine
from modelwright_plugins.tensorrt.library import TITLES

BATCHES, LENGTHS = (1, 16, 64, 256), (32, 128, 512)
COMPILED_LENGTH = 128  # compiling takes long: this length alone
LONGEST = 256  # what the model is described to take, and an engine is built for
HIDDEN, LAYERS, INNER = 384, 6, 1536
MODEL = "minilm"
VARIANTS = {
    "ONNX Runtime": "standard",
    "ONNX Runtime, its own operators": "contrib",
    "ONNX Runtime, lengths for a mask": "lengths",
}
ENGINE: dict[str, dict[str, Any]] = {
    **EXPORT,
    "compile": {
        "use": "compile.tensorrt",
        "profiles": [
            {"batch": [least, most, most], "length": [1, 128, LONGEST]}
            for least, most in ((1, 1), (2, 16), (17, 64), (65, max(BATCHES)))
        ],
    },
}


def flops(batch: int, length: int) -> float:
    """Of the products of a forward pass."""
    layer = 2 * length * (4 * HIDDEN**2 + 2 * HIDDEN * INNER) + 4 * length**2 * HIDDEN
    return float(batch * LAYERS * layer)


def measure(work: Path) -> Iterator[dict[str, Any]]:
    """A row for each batch and length, milliseconds from ids on the GPU to the last hidden states there."""
    from transformers import AutoModel

    made = {
        name: run_stages(
            {**EXPORT, "compile": {"use": "compile.onnxruntime", "variant": variant}},
            MODEL,
            work,
            target="cuda",
        )
        for name, variant in VARIANTS.items()
    }
    checkpoint = made["ONNX Runtime"].models["cast"].path
    networks = {
        way: AutoModel.from_pretrained(checkpoint, dtype=torch.float16, attn_implementation=way).cuda().eval()
        for way in ("eager", "sdpa")
    }
    compiled = torch.compile(networks["sdpa"])
    graphs = {name: done.models["compile"] for name, done in made.items()}
    sessions = {name: open_session(graph, CUDA) for name, graph in graphs.items()}
    recording, unrecorded = recordings(graphs)
    engines = {TITLES[library]: LoadedEngine(_engine(library, work), CUDA) for library in usable_libraries()}
    for length in LENGTHS:
        for batch in BATCHES:
            ids = torch.randint(1000, 30000, (batch, length), device="cuda")
            inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            contenders: dict[str, Call] = {
                f"PyTorch {way}": _forward(network, inputs) for way, network in networks.items()
            }
            if length == COMPILED_LENGTH:
                torch._dynamo.reset()
                contenders["PyTorch compiled"] = _forward(compiled, inputs)
            peaks = {name: peak_bytes(call) for name, call in contenders.items()}
            contenders["PyTorch sdpa, CUDA graph"] = replayed(contenders["PyTorch sdpa"])
            contenders |= {name: _bound(session, inputs) for name, session in sessions.items()}
            number = f"{BATCHES.index(batch) + len(BATCHES) * LENGTHS.index(length) + 1}"
            for name, session in recording.items():
                contenders[f"{name}, CUDA graph"] = _bound(session, inputs, graph=number)
            if length <= LONGEST:
                contenders |= {name: _executed(engine, inputs) for name, engine in engines.items()}
            yield {
                "batch": batch,
                "length": length,
                "flops": flops(batch, length),
                "ms": take_turns(contenders),
                "bytes": peaks,
                "least_cosine": _least_cosines(contenders),
                "unrecorded": unrecorded,
            }
            free()


def _engine(library: TensorRTLibrary, work: Path) -> Model:
    return run_stages(ENGINE, MODEL, work, target=TARGETS[library]).models["compile"]


def _executed(engine: LoadedEngine, inputs: dict[str, torch.Tensor]) -> Call:
    zeros = torch.zeros_like(inputs["input_ids"])
    given = {name: inputs.get(name, zeros) for name in engine.inputs}
    return lambda: engine.run(given)["last_hidden_state"]


def _forward(network: Any, inputs: dict[str, torch.Tensor]) -> Call:
    def call() -> object:
        with torch.inference_mode():
            return network(**inputs).last_hidden_state

    return call


def _bound(session: Any, inputs: dict[str, torch.Tensor], graph: str = NOT_CAPTURED) -> Call:
    """A run with inputs and outputs that stay on the GPU, as a CUDA graph where that has a number."""
    batch, length = inputs["input_ids"].shape
    output = torch.empty(batch, length, HIDDEN, dtype=torch.float16, device="cuda")
    binding = session.io_binding()
    zeros = torch.zeros(batch, length, dtype=torch.int64, device="cuda")
    bound = [inputs.get(wanted.name, zeros) for wanted in session.get_inputs()]
    for wanted, tensor in zip(session.get_inputs(), bound, strict=True):
        binding.bind_input(wanted.name, "cuda", 0, np.int64, tuple(tensor.shape), tensor.data_ptr())
    name = session.get_outputs()[0].name
    kind = np.float16 if "float16" in session.get_outputs()[0].type else np.float32
    if kind is np.float32:
        output = output.float()
    binding.bind_output(name, "cuda", 0, kind, tuple(output.shape), output.data_ptr())

    options = run_options(graph)

    def call() -> torch.Tensor:
        session.run_with_iobinding(binding, options)
        return output

    call.bound = bound  # type: ignore[attr-defined]  # kept for as long as it is called

    return call


def _least_cosines(contenders: dict[str, Call]) -> dict[str, float]:
    """Of any token's vector with that of the first."""
    outputs = {name: call().float().clone() for name, call in contenders.items()}  # type: ignore[attr-defined]
    first = next(iter(outputs.values()))
    cosines = torch.nn.functional.cosine_similarity
    return {name: float(cosines(first, found, dim=-1).min()) for name, found in outputs.items()}
