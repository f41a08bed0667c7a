"""Profiles that no input of the model fits, or that leave one out, are refused before anything is built."""

from __future__ import annotations

from typing import Any

import pytest

from modelwright.api.model import ModelSpec
from modelwright.errors import RecipeError
from modelwright_plugins.tensorrt.profile_checks import check_profiles

LONGEST = 64
ENCODER = ModelSpec(format="onnx", task="embed", architecture="Bert", pooling="mean", max_length=LONGEST)
CAUSAL = ENCODER.model_copy(update={"task": "generate"})
TEXTS = {"batch": (1, 2, 4), "length": (1, 16, LONGEST)}
PROMPTS = {**TEXTS, "past": (0, 0, 0)}
TOKENS = {"batch": (1, 2, 4), "length": (1, 1, 1), "past": (1, 16, LONGEST - 1)}
REFUSED: dict[str, tuple[ModelSpec, list[dict[str, Any]], str]] = {
    "misspelt": (ENCODER, [{"batch": (1, 1, 1), "lenght": (1, 1, 1)}], "no dynamic dimension 'lenght'"),
    "unknown": (ENCODER, [TEXTS, {**TEXTS, "past": (0, 0, 0)}], "no dynamic dimension 'past'"),
    "left out": (ENCODER, [{"batch": (1, 1, 1)}], "profile 0 says no sizes of length"),
    "empty": (ENCODER, [TEXTS, {**TEXTS, "batch": (0, 1, 2)}], "profile 1 begins with no text or no token"),
    "long": (ENCODER, [{**TEXTS, "length": (1, 16, LONGEST + 1)}], "beyond the 64 tokens"),
    "twice": (ENCODER, [TEXTS, TEXTS], "profile 1 is there twice"),
    "no past": (CAUSAL, [TEXTS, TOKENS], "profile 0 says no sizes of past"),
    "long past": (CAUSAL, [PROMPTS, {**TOKENS, "past": (1, 16, LONGEST)}], "beyond the 64 tokens"),
    "total": (CAUSAL, [PROMPTS, {**TOKENS, "total": (1, 1, 1)}], "total is not past and length together"),
    "prompts alone": (CAUSAL, [PROMPTS], "a profile for prompts and one for the tokens"),
    "tokens alone": (CAUSAL, [TOKENS], "a profile for prompts and one for the tokens"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_fits_no_input_is_refused(case: str) -> None:
    spec, profiles, words = REFUSED[case]
    with pytest.raises(RecipeError, match=words) as refused:
        check_profiles(profiles, spec)
    assert refused.value.where == "parameter profiles"
    assert refused.value.accepted


def test_what_serves_all_inputs_is_taken() -> None:
    check_profiles([], CAUSAL)
    check_profiles([TEXTS, {**TEXTS, "batch": (8, 8, 8)}], ENCODER)
    check_profiles([PROMPTS, {**TOKENS, "total": (2, 17, LONGEST)}], CAUSAL)
