"""Models of transformers on torch's meta device: every shape and no memory."""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the cpu extra")
transformers = pytest.importorskip("transformers", reason="needs the cpu extra")

BARE = "AutoModel"
CAUSAL = "AutoModelForCausalLM"
WORDS = "AutoModelForMaskedLM"
CLASSIFIER = "AutoModelForSequenceClassification"


def config_of(values: dict[str, Any]) -> Any:
    values = dict(values)
    return transformers.AutoConfig.for_model(values.pop("model_type"), **values)


def meta_model(values: dict[str, Any], auto: str = CAUSAL) -> Any:
    """A bfloat16 model, its weights tied where its config ties them; made once."""
    return _made(json.dumps(values), auto)


@functools.cache
def _made(values: str, auto: str) -> Any:
    with torch.device("meta"):
        model = getattr(transformers, auto).from_config(config_of(json.loads(values)), dtype=torch.bfloat16)
    model.tie_weights()
    return model


def parameter_shapes(model: Any) -> dict[str, tuple[int, ...]]:
    """Each parameter once, so a tied one by its first name."""
    return {name: tuple(tensor.shape) for name, tensor in model.named_parameters()}


def buffer_bytes(model: Any) -> dict[str, int]:
    return {name: tensor.numel() * tensor.element_size() for name, tensor in model.named_buffers()}
