"""Llamas of random float16 weights in PyTorch, in ONNX Runtime and in TensorRT, side by side."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.gpu.decoder import BATCHES, PROMPTS, prompt_call, step_call
from benchmarks.gpu.steps import CUDA, EXPORT, TARGETS, recordings, usable_libraries
from benchmarks.gpu.timing import Call, free, take_turns
from benchmarks.models.shape import SHAPES, write_checkpoint
from benchmarks.models.steps import run_stages
from modelwright.api.model import Model
from modelwright_plugins.format.onnx_causal_cache import CacheBuffers
from modelwright_plugins.format.onnx_causal_graph import LOGITS, CausalGraph, bind_logits_to_keep, present_of
from modelwright_plugins.format.onnx_fixed_steps import FixedSteps
from modelwright_plugins.format.onnx_session import open_session
from modelwright_plugins.format.tensorrt_causal_runner import TensorRTCausalRunner
from modelwright_plugins.tensorrt.library import TITLES

if TYPE_CHECKING:
    import onnxruntime

FUSED: dict[str, dict[str, Any]] = {"compile": {"use": "compile.onnxruntime", "variant": "fused"}}
QUANTIZE = {"use": "quantize.onnx_weight_only", "method": "rtn", "block_size": 32}
CHAINS: dict[str, dict[str, dict[str, Any]]] = {
    "ONNX Runtime": {**EXPORT, **FUSED},
    "ONNX Runtime, 4 bits": {**EXPORT, "quantize": QUANTIZE, **FUSED},
}
ENGINE: dict[str, dict[str, Any]] = {
    **EXPORT,
    "export": {**EXPORT["export"], "attention": "attention"},
    "compile": {
        "use": "compile.tensorrt",
        "profiles": [
            {"batch": [1, 1, max(BATCHES)], "length": [1, min(PROMPTS), max(PROMPTS)], "past": [0, 0, 0]},
            {"batch": [1, 1, max(BATCHES)], "length": [1, 1, 1], "past": [1, min(PROMPTS), max(PROMPTS)]},
        ],
    },
}


def measure(work: Path) -> Iterator[dict[str, Any]]:
    """A row for each shape, batch and length of prompt: milliseconds of the prompt and of one more token."""
    from transformers import AutoModelForCausalLM

    for shape in SHAPES:
        checkpoint = write_checkpoint(shape, work)
        made = {name: run_stages(chain, checkpoint, work, target="cuda") for name, chain in CHAINS.items()}
        folder = made["ONNX Runtime"].models["cast"].path
        network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float16).cuda().eval()
        graphs = {name: done.models["compile"] for name, done in made.items()}
        recording, unrecorded = recordings(graphs)
        runtimes: dict[str, _Runtime] = {
            name: _Graph(graph, recording.get(name)) for name, graph in graphs.items()
        }
        for library in usable_libraries():
            done = run_stages(ENGINE, checkpoint, work, target=TARGETS[library])
            runtimes[TITLES[library]] = _Engine(done.models["compile"])
        for batch in BATCHES:
            for length in PROMPTS:
                ids = torch.randint(0, 30000, (batch, length), device="cuda")
                prompts = {"PyTorch sdpa": prompt_call(network, ids)}
                steps = {"PyTorch sdpa": step_call(network, ids)}
                for name, runtime in runtimes.items():
                    prompts[name], steps[name] = runtime.calls(ids)
                    if recorded := runtime.recorded(batch, length):
                        steps[f"{name}, CUDA graph"] = recorded
                yield {
                    "shape": shape,
                    "batch": batch,
                    "length": length,
                    "prompt_ms": take_turns(prompts, rounds=5),
                    "token_ms": take_turns(steps, rounds=5),
                    "unrecorded": unrecorded,
                }
                del prompts, steps
                free()
        del network, runtimes, recording
        free()


class _Runtime(ABC):
    """A model in a runtime other than PyTorch."""

    @abstractmethod
    def calls(self, ids: torch.Tensor) -> tuple[Call, Call]:
        """Reading the prompt, and one token behind it."""

    def recorded(self, batch: int, length: int) -> Call | None:
        """The token as a CUDA graph; None where there is none."""
        return None


class _Graph(_Runtime):
    """A session whose cache is one buffer on the GPU, that attention appends to."""

    def __init__(self, model: Model, recording: onnxruntime.InferenceSession | None) -> None:
        assert model.spec.generation is not None
        self._session = open_session(model, CUDA)
        self._recording = recording
        self._recordings = 0
        self._graph = CausalGraph.read(self._session, model.spec.generation, model.path)
        self._vocabulary = model.spec.generation.vocabulary

    def calls(self, ids: torch.Tensor) -> tuple[Call, Call]:
        """Reading the prompt, and one token behind it, which the next call writes over."""
        import onnxruntime as ort

        batch, length = ids.shape
        rows = ids.cpu().numpy()
        buffers = CacheBuffers("shared", self._graph, batch, length + 1, "cuda")
        logits = ort.OrtValue.ortvalue_from_shape_and_type(
            (batch, 1, self._vocabulary), self._graph.logits_dtype.type, "cuda", 0
        )
        assert self._graph.limits_logits

        binding = self._session.io_binding()
        buffers.bind(binding, 0, length)
        bind_logits_to_keep(binding, 1)
        binding.bind_ortvalue_output(LOGITS, logits)

        def call(past: int, tokens: np.ndarray) -> Call:
            mask = np.ones((batch, past + tokens.shape[1]), np.int64)
            inputs = self._graph.token_inputs(tokens, mask)

            def run() -> object:
                for name, array in inputs.items():
                    binding.bind_cpu_input(name, array)
                self._session.run_with_iobinding(binding)
                return buffers  # what is bound lives as long as the call

            return run

        return call(0, rows), call(length, rows[:, :1])

    def recorded(self, batch: int, length: int) -> Call | None:
        """One token behind a prompt, its kernels replayed as a CUDA graph; None where they cannot be."""
        if self._recording is None:
            return None
        self._recordings += 1
        steps = FixedSteps(
            self._recording,
            self._graph,
            vocabulary=self._vocabulary,
            batch=batch,
            capacity=length + 1,
            device="cuda",
            number=str(self._recordings),
        )
        steps(np.zeros((batch, 1), np.int64), np.ones((batch, length + 1), np.int64))
        return steps.replay


class _Engine(_Runtime):
    """An engine that joins its cache with what is new in each run, and gives the logits of every position."""

    def __init__(self, model: Model) -> None:
        self._runner = TensorRTCausalRunner(model, CUDA)

    def calls(self, ids: torch.Tensor) -> tuple[Call, Call]:
        """Reading the prompt, and one token behind it."""
        runner, rows = self._runner, ids.cpu().numpy()
        mask = np.ones((len(rows), rows.shape[1] + 1), np.int64)
        prompt = runner.fed(rows, mask[:, :-1], runner.no_past({"input_ids": rows}))
        found = runner.engine.run(prompt)
        token = runner.fed(rows[:, :1], mask, {name: found[present_of(name)] for name in runner.caches})
        return lambda: runner.engine.run(prompt), lambda: runner.engine.run(token)
