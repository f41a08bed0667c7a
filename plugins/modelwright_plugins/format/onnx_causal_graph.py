"""What an ONNX graph of a causal language model takes and gives, read off its session."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modelwright.api.model import GenerationSpec
from modelwright.api.runner import Tokens
from modelwright.errors import RecipeError
from modelwright_plugins.text.steps import positions

if TYPE_CHECKING:
    import onnxruntime

# transformers and ONNX Runtime GenAI name them alike.
PAST = re.compile(r"past_key_values\.(\d+)\.(key|value)")
TOKEN_INPUTS = ("input_ids", "attention_mask", "position_ids")
LOGITS = "logits"
# An input with a default, how many of the last positions get logits; export.onnx gives its graphs one.
LOGITS_TO_KEEP = "logits_to_keep"
DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


@dataclass(frozen=True)
class CacheTensor:
    """Keys or values of one layer: [batch, heads, tokens, width], in by one name and out by another."""

    past: str
    present: str
    heads: int
    width: int
    dtype: np.dtype

    def shape(self, batch: int, tokens: int) -> tuple[int, int, int, int]:
        """The shape with so many tokens in it."""
        return (batch, self.heads, tokens, self.width)


@dataclass(frozen=True)
class CausalGraph:
    """A graph with keys and values in and out; some can leave out the logits of a prompt's other positions.

    >>> CausalGraph.read(session, model.spec.generation, model.path).caches[0].past
    'past_key_values.0.key'
    """

    inputs: frozenset[str]
    limits_logits: bool
    caches: tuple[CacheTensor, ...]
    logits_dtype: np.dtype

    @classmethod
    def read(
        cls, session: onnxruntime.InferenceSession, generation: GenerationSpec, path: Path
    ) -> CausalGraph:
        """Read the session's inputs and outputs. Raises RecipeError where they are not those of a cache."""
        inputs = {item.name: item for item in session.get_inputs()}
        outputs = {item.name: item for item in session.get_outputs()}
        past = [name for name in inputs if PAST.fullmatch(name)]
        unknown = set(inputs) - set(past) - set(TOKEN_INPUTS)
        lacking = {"input_ids", "attention_mask"} - set(inputs)
        lacking |= ({LOGITS} | {present_of(name) for name in past}) - set(outputs)
        if not past or unknown or lacking:
            raise RecipeError(
                "The graph does not generate with a KV cache that this runner knows.",
                where=str(path),
                accepted="input_ids, attention_mask, position_ids, past_key_values.N.key and .value in; "
                "logits, present.N.key and .value out",
                hint=_difference(past, unknown, lacking),
            )
        heads = {name: _number(inputs[name].shape[1], name, path) for name in past}
        widths = {name: inputs[name].shape[3] for name in past}
        # The GenAI builder leaves the width of a head open.
        for name, width in widths.items():
            if not isinstance(width, int) and generation.cache_elements:
                widths[name] = generation.cache_elements // sum(heads.values())
        return cls(
            inputs=frozenset(inputs) & frozenset(TOKEN_INPUTS),
            limits_logits=LOGITS_TO_KEEP in {item.name for item in session.get_overridable_initializers()},
            caches=tuple(
                CacheTensor(
                    name,
                    present_of(name),
                    heads[name],
                    _number(widths[name], name, path),
                    _dtype(inputs[name].type, name, path),
                )
                for name in past
            ),
            logits_dtype=_dtype(outputs[LOGITS].type, LOGITS, path),
        )

    def token_inputs(self, ids: Tokens, mask: Tokens) -> dict[str, Tokens]:
        """What the graph takes for the last `ids.shape[1]` columns of `mask`; positions count the seen."""
        arrays = {"input_ids": ids, "attention_mask": mask}
        if "position_ids" in self.inputs:
            arrays["position_ids"] = positions(mask, ids.shape[1])
        return {name: np.ascontiguousarray(array, np.int64) for name, array in arrays.items()}

    def empty_caches(self, batch: int) -> dict[str, np.ndarray]:
        """A past of no tokens."""
        return {cache.past: np.zeros(cache.shape(batch, 0), cache.dtype) for cache in self.caches}


def bind_logits_to_keep(binding: onnxruntime.IOBinding, count: int) -> None:
    """Have a graph that limits its logits give those of so many last positions."""
    import onnxruntime as ort

    last = ort.OrtValue.ortvalue_from_numpy(np.array([count], np.int64))
    binding.bind_ortvalue_input(LOGITS_TO_KEEP, last)


def present_of(past: str) -> str:
    """The output that an input of the cache comes back as."""
    return past.replace("past_key_values.", "present.")


def _difference(past: list[str], unknown: set[str], lacking: set[str]) -> str:
    if not past:
        return "export it with a KV cache"
    parts = [("it lacks", lacking), ("it also takes", unknown)]
    return "; ".join(f"{what} {', '.join(sorted(names))}" for what, names in parts if names)


def _number(value: object, name: str, path: Path) -> int:
    if not isinstance(value, int):
        raise RecipeError(
            f"The graph leaves the heads or their width of '{name}' open.",
            where=str(path),
            accepted="[batch, heads, tokens, width] with numbers for heads and width",
        )
    return value


def _dtype(type_: str, name: str, path: Path) -> np.dtype:
    if type_ not in DTYPES:
        raise RecipeError(f"'{name}' is of type {type_}.", where=str(path), accepted=", ".join(DTYPES))
    return np.dtype(DTYPES[type_])
