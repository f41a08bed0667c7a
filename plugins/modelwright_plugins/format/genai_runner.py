"""Runs a causal language model in ONNX Runtime GenAI. Imports neither torch nor onnx."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from modelwright.api.model import Model
from modelwright.api.runner import Decoder, Floats, Inputs
from modelwright.api.target import Target
from modelwright.errors import MissingError, RecipeError
from modelwright_plugins.format.genai import decoder_config
from modelwright_plugins.format.genai_decoder import GenAIDecoder, start_rows
from modelwright_plugins.text.causal_runner import CausalRunner
from modelwright_plugins.text.padding_side import split_rows

if TYPE_CHECKING:
    import onnxruntime_genai

# What GenAI calls ONNX Runtime's execution providers; the CPU is what it uses without any.
PROVIDERS = {"CPUExecutionProvider": None, "CUDAExecutionProvider": "cuda"}


class GenAIRunner(CausalRunner):
    """GenAI's generator, with our tokenizer and our sampling.

    >>> GenAIRunner(model, Target(threads=2)).generate(["def add(a, b):"], max_new_tokens=32)

    GenAI pads batches on the right and knows padding and ends by their tokens, wherever they come from. One
    token of the vocabulary, the last that ends no text, is reserved for both, so that real ends are tokens
    like others here, as they are in every runner.
    """

    def __init__(self, model: Model, target: Target) -> None:
        super().__init__(model)
        self._target = target
        self.cache_item_bytes = 2 if model.spec.dtype == "float16" else 4
        ends = self.generation.end
        self._reserved = max(set(range(self.generation.vocabulary)) - set(ends))
        self._model = _open(model, target, self._reserved)
        decoder = decoder_config(model.path)
        kinds = ("present_key_names", "present_value_names")
        layers = range(int(decoder["num_hidden_layers"]))
        self._presents = [str(decoder["outputs"][kind]) % layer for kind in kinds for layer in layers]

    def all_logits(self, inputs: Inputs) -> Floats:
        """Logits at every position; those of padding are 0."""
        result = np.zeros((*inputs["input_ids"].shape, self.generation.vocabulary), np.float32)
        for index, row in enumerate(_rows(inputs)):
            decoder = GenAIDecoder(self._model, self._presents, [row], len(row), self._reserved)
            result[index, -len(row) :] = decoder.prompt_logits()[0]
        return result

    def start(self, inputs: Inputs, new_tokens: int) -> Decoder:
        """Run the prompts in a new generator."""
        self.check_room(inputs, new_tokens)
        room = inputs["input_ids"].shape[1] + new_tokens
        return start_rows(self._model, self._presents, _rows(inputs), room, self._reserved)

    def describe(self) -> dict[str, str]:
        """Runtime, provider, threads, and how unequal rows run."""
        import onnxruntime_genai as og

        return {
            "runtime": f"ONNX Runtime GenAI {og.__version__}",
            "provider": self._target.provider,
            "threads": str(self._target.thread_count),
            "unequal rows": "padded on the right",
        }


def require_provider(target: Target) -> None:
    """Raise RecipeError for a provider that GenAI does not serve, MissingError where it lacks it here."""
    import onnxruntime_genai as og

    og.disable_telemetry_events()
    if target.provider not in PROVIDERS:
        raise RecipeError(
            f"Models do not run on {target.provider} in ONNX Runtime GenAI.",
            where="target.provider",
            accepted=", ".join(PROVIDERS),
        )
    if target.device == "cuda" and not og.is_cuda_available():
        raise MissingError(
            f"ONNX Runtime GenAI {og.__version__} here has no {target.provider}.",
            where="target.provider",
            accepted="CPUExecutionProvider",
            hint="install a build of ONNX Runtime GenAI with CUDA, or target=cpu",
        )


def _open(model: Model, target: Target, reserved: int) -> onnxruntime_genai.Model:
    import onnxruntime_genai as og

    require_provider(target)
    config = og.Config(str(model.path))
    config.clear_providers()
    if provider := PROVIDERS[target.provider]:
        config.append_provider(provider)
    options = {"intra_op_num_threads": target.thread_count, "inter_op_num_threads": 1}
    overlay = {
        "eos_token_id": reserved,
        "pad_token_id": reserved,
        "decoder": {"session_options": options},
    }
    config.overlay(json.dumps({"model": overlay}))
    return og.Model(config)


def _rows(inputs: Inputs) -> list[list[int]]:
    return [row["input_ids"][0].tolist() for row in split_rows(inputs)]
