"""Steps of a causal language model in plain ONNX Runtime and in PyTorch, to be compared."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.api.model import Model

Tokens = NDArray[np.int64]
Floats = NDArray[np.float32]


class OnnxSteps:
    """A session and its cache: each call is one step, `mask` reaching from the first token to the last."""

    def __init__(self, model: Model) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.session = ort.InferenceSession(
            str(model.path / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self.shapes = {item.name: item.shape for item in self.session.get_inputs()}
        self.outputs = [item.name for item in self.session.get_outputs()]
        self.past: dict[str, Floats] = {}

    def __call__(self, ids: Tokens, mask: Tokens, **more: NDArray[Any]) -> Floats:
        past = self.past or {
            # The model builder leaves the width of a head open.
            name: np.zeros((len(ids), shape[1], 0, shape[3] if isinstance(shape[3], int) else 16), np.float32)
            for name, shape in self.shapes.items()
            if name.startswith("past_key_values.")
        }
        fed = {name: array for name, array in _step(ids, mask).items() if name in self.shapes}
        results = dict(zip(self.outputs, self.session.run(None, {**fed, **past, **more}), strict=True))
        logits: Floats = results.pop("logits")
        self.past = {name.replace("present", "past_key_values"): value for name, value in results.items()}
        return logits


class TorchSteps:
    """The checkpoint with transformers' own cache, called alike."""

    def __init__(self, model: Model) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(1)
        self.model = AutoModelForCausalLM.from_pretrained(
            model.path, dtype=torch.float32, attn_implementation="eager"
        ).eval()
        self.names = inspect.signature(self.model.forward).parameters
        self.cache: Any = None

    def __call__(self, ids: Tokens, mask: Tokens) -> Floats:
        import torch

        fed = {n: torch.from_numpy(a) for n, a in _step(ids, mask).items() if n in self.names}
        with torch.no_grad():
            result = self.model(**fed, past_key_values=self.cache, use_cache=True)
        self.cache = result.past_key_values
        return np.asarray(result.logits.numpy())


def padded_batch(lengths: Sequence[int], vocabulary: int, seed: int = 0) -> tuple[Tokens, Tokens]:
    """Random rows of these lengths padded on the left with token 0, and their mask."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((len(lengths), max(lengths)), np.int64)
    mask = np.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, -length:] = rng.integers(1, vocabulary, length)
        mask[row, -length:] = 1
    return ids, mask


def largest_difference(exported: Model, checkpoint: Model, new_tokens: int = 24) -> float:
    """Largest difference of logits over a left-padded batch of four and greedy tokens after it.

    Both sides have to choose the same token every time.
    """
    onnx, torch = OnnxSteps(exported), TorchSteps(checkpoint)
    generation = checkpoint.spec.generation
    assert generation is not None
    ids, mask = padded_batch((3, 9, 14, 11), generation.vocabulary)
    largest = 0.0
    for _ in range(new_tokens + 1):
        found, expected = onnx(ids, mask), torch(ids, mask)
        counted = mask[:, -ids.shape[1] :, None]
        largest = max(largest, float(np.abs((found - expected) * counted).max()))
        ids = found[:, -1].argmax(axis=-1)[:, None]
        np.testing.assert_array_equal(ids[:, 0], expected[:, -1].argmax(axis=-1))
        mask = np.concatenate([mask, np.ones_like(ids)], axis=1)
    return largest


def _step(ids: Tokens, mask: Tokens) -> dict[str, Tokens]:
    positions = np.maximum(mask.cumsum(axis=1) - 1, 0)[:, -ids.shape[1] :]
    return {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
