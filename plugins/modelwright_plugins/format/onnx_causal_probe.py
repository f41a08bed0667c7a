"""Finds out by small runs what a causal graph allows: sharing the cache's buffer, padding, all logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from modelwright.api.model import GenerationSpec
from modelwright.api.runner import Decoder, Floats, Inputs, Tokens
from modelwright.errors import RecipeError
from modelwright_plugins.format.onnx_capture import run_options
from modelwright_plugins.format.onnx_causal_graph import LOGITS, CausalGraph
from modelwright_plugins.format.onnx_decoder import Padding
from modelwright_plugins.format.onnx_fixed_steps import LEAST_STEPS

if TYPE_CHECKING:
    import onnxruntime

# Rows of unequal length and one token more; what a probe needs of the context.
SHORT, LONG = 3, 6
ROOM = LONG + 1
# Kernels round differently by shape; another context changes logits by far more.
TOLERANCE = 0.02


def full_logits(session: onnxruntime.InferenceSession, graph: CausalGraph, inputs: Inputs) -> Floats:
    """Logits of one run without a past, at the positions that the graph gives."""
    fed = {
        **graph.token_inputs(inputs["input_ids"], inputs["attention_mask"]),
        **graph.empty_caches(len(inputs["input_ids"])),
    }
    return np.asarray(session.run([LOGITS], fed, run_options())[0])


def gives_all_positions(
    session: onnxruntime.InferenceSession, graph: CausalGraph, generation: GenerationSpec
) -> bool:
    """Whether there are logits at every position of a prompt, or only at its last.

    Raises RecipeError where they are not as wide as the vocabulary.
    """
    _, length, width = full_logits(session, graph, _unpadded(_tokens(generation, 2))).shape
    if width != generation.vocabulary:
        raise RecipeError(
            f"The graph gives logits of {width:,} tokens, and the model's description says "
            f"{generation.vocabulary:,}.",
            where="generation.vocabulary",
            accepted="a graph and a description of the same model",
        )
    return bool(length > 1)


def difference(
    session: onnxruntime.InferenceSession,
    graph: CausalGraph,
    generation: GenerationSpec,
    start: Callable[[Inputs, int], Decoder],
) -> str | None:
    """How what `start` begins, token by token, differs from one run over the whole text; None if it does not.

    A graph without fused attention refuses a buffer that is longer than the text, and one that counts tokens
    by its mask's length gives other logits with a longer mask.
    """
    tokens = _tokens(generation, LONG)
    expected = full_logits(session, graph, _unpadded(tokens))[:, -1]
    try:
        # Room for more than is added, so that the buffer is never as long as the text.
        decoder = start(_unpadded(tokens[:, : SHORT + 1]), LONG)
        for column in tokens[:, SHORT + 1 :].T:
            decoder.step(column)
    except RuntimeError as error:  # what a run with bound inputs and outputs raises
        return f"it fails: {error}"
    return None if _equal(decoder.logits, expected) else "it gives other logits"


def find_padding(
    session: onnxruntime.InferenceSession,
    graph: CausalGraph,
    generation: GenerationSpec,
    start: Callable[[Inputs, int, Padding], Decoder],
    sides: tuple[Padding, ...],
) -> Padding | None:
    """The side on which rows of unequal length may be padded; None where neither gives the right tokens."""
    tokens = _tokens(generation, SHORT + LONG + 1)
    short, long, following = tokens[:, :SHORT], tokens[:, SHORT:-1], tokens[0, -1:]
    ids = np.zeros((2, LONG), np.int64)
    ids[0, LONG - SHORT :], ids[1] = short, long
    mask = np.ones_like(ids)
    mask[0, : LONG - SHORT] = 0
    continued = np.concatenate([short, following[None]], axis=1)
    expected = [full_logits(session, graph, _unpadded(row))[:, -1] for row in (short, continued)]
    for side in sides:
        decoder = start({"input_ids": ids, "attention_mask": mask}, LEAST_STEPS, side)
        found = [np.array(decoder.logits[:1]), decoder.step(np.repeat(following, 2))[:1]]
        if all(map(_equal, found, expected)):
            return side
    return None


def _tokens(generation: GenerationSpec, count: int) -> Tokens:
    return np.random.default_rng(0).integers(generation.vocabulary, size=(1, count))


def _unpadded(ids: Tokens) -> Inputs:
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def _equal(found: Floats, expected: Floats) -> bool:
    wanted = np.asarray(expected, np.float32)
    return bool(np.abs(found - wanted).max() <= TOLERANCE * np.ptp(wanted))
