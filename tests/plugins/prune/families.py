"""Tiny checkpoints of every family that can be cut, with random weights, biases and norms."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from modelwright.api.model import Model
from modelwright.testing.tiny_model import write_tiny_model
from modelwright_plugins.prune.slicing.axes import Kind, Sizes
from modelwright_plugins.prune.slicing.families import FAMILIES
from tests.plugins.tiny_llama import open_checkpoint

LAYERS, WIDTH, NEURONS, HEADS, KEYS, HEAD_DIM = 3, 32, 24, 4, 2, 8
LENGTH = 32
ENCODERS = ("bert", "distilbert", "mpnet", "roberta", "xlm-roberta")
DECODERS = tuple(name for name in FAMILIES if name not in ENCODERS)
GROUPED = tuple(name for name in DECODERS if FAMILIES[name].own_head_dim)
TIED_WIDTH = tuple(name for name in FAMILIES if not FAMILIES[name].own_head_dim)


def config_of(family: str, vocabulary: int, **changes: Any) -> Any:
    """A configuration of the family, of the sizes above."""
    from transformers import AutoConfig

    values: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "max_position_embeddings": LENGTH + 2,
        FAMILIES[family].inner: NEURONS,
        "pad_token_id": 0,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    if FAMILIES[family].own_head_dim:
        values |= {"num_key_value_heads": KEYS, "head_dim": HEAD_DIM}
    if family == "qwen3":
        values |= {
            "use_sliding_window": True,
            "sliding_window": 4,
            "layer_types": ["full_attention", "sliding_attention", "full_attention"],
        }
    if family == "llama":
        values |= {"attention_bias": True, "mlp_bias": True}
    return AutoConfig.for_model(family, **{**values, **changes})


def save_family(
    family: str,
    folder: Path,
    change: Callable[[Any], None] | None = None,
    *,
    classify: bool = False,
    **changes: Any,
) -> Model:
    """Write one; `change` gets the network before it is saved, `changes` are of the configuration."""
    import torch
    import transformers

    encoder = family in ENCODERS
    files = folder.with_name(f"{folder.name}-files")
    companions = write_tiny_model(files, "embed" if encoder else "generate")
    vocabulary = json.loads((companions / "config.json").read_text("utf-8"))["vocab_size"]
    auto = "AutoModelForSequenceClassification" if classify else "AutoModel"
    factory = getattr(transformers, auto if encoder or classify else "AutoModelForCausalLM")
    torch.manual_seed(0)
    network = factory.from_config(config_of(family, vocabulary, **changes)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    if change is not None:
        with torch.no_grad():
            change(network)
    network.save_pretrained(folder)
    for file in companions.rglob("*"):
        copied = folder / file.relative_to(companions)
        if file.is_file() and not copied.exists() and not (classify and "modules" in file.name):
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copied)
    return open_checkpoint(folder)


def units(
    network: Any, family: str, kind: Kind, numbers: Sequence[int], change: Callable[[Any], Any]
) -> None:
    """Replace the weights of some units of a kind, in all tensors that have them."""
    known = FAMILIES[family]
    sizes = Sizes(LAYERS, WIDTH, NEURONS, HEADS, KEYS if known.own_head_dim else HEADS, HEAD_DIM)
    for name, parameter in network.named_parameters():
        for number, dimension in enumerate(known.dimensions(name, parameter.dim()) or ()):
            start = 0
            for segment in dimension:
                unit = segment.unit(HEAD_DIM)
                if segment.kind == kind:
                    places = [start + one * unit + at for one in numbers for at in range(unit)]
                    part = parameter.index_select(number, _indices(places))
                    parameter.index_copy_(number, _indices(places), change(part))
                start += sizes.of(segment.kind) * unit


def outputs(folder_or_network: Any) -> np.ndarray:
    """Last hidden states or logits on fixed tokens, by plain transformers."""
    import torch
    import transformers

    network = folder_or_network
    if isinstance(network, Path):
        spec = open_checkpoint(network).spec
        auto = {
            "embed": transformers.AutoModel,
            "classify": transformers.AutoModelForSequenceClassification,
            "generate": transformers.AutoModelForCausalLM,
        }[spec.task]
        network = auto.from_pretrained(network).eval()
    tokens = torch.arange(5, 5 + 24).reshape(2, 12)
    with torch.inference_mode():
        found: torch.Tensor = network(input_ids=tokens)[0]
    return found.numpy()


def scaled(factor: float) -> Callable[[Any], Any]:
    """Multiplies by a factor."""
    return partial(_times, factor=factor)


def _times(tensor: Any, factor: float) -> Any:
    return tensor * factor


def _indices(places: Sequence[int]) -> Any:
    import torch

    return torch.tensor(places)
