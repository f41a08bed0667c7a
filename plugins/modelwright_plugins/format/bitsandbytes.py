"""Checkpoints quantized by bitsandbytes, run by PyTorch."""

from __future__ import annotations

import logging
from pathlib import Path

from modelwright.api.model import Model
from modelwright.api.runner import Runner
from modelwright.api.target import Target
from modelwright.errors import MissingError
from modelwright_plugins.format.quantized_checkpoint import QuantizedCheckpoint, tensor_entries

STATE = ".weight.quant_state.bitsandbytes__"


class BitsAndBytes(
    QuantizedCheckpoint, name="bitsandbytes", requires=("torch", "transformers", "accelerate", "bitsandbytes")
):
    """A folder `from_pretrained` loads where bitsandbytes is installed: LLM.int8, NF4 or FP4 weights."""

    quant_method = "bitsandbytes"

    def quantized_layers(self, path: Path) -> dict[str, int]:
        """Layers with a state of 4 bits or with row scales (`SCB`) of 8."""
        entries = tensor_entries(path)
        layers: dict[str, int] = {}
        for name in entries:
            layer, state, _ = name.partition(STATE)
            if state:
                layers[layer] = 2 * entries[f"{layer}.weight"].elements
            elif name.endswith(".SCB"):
                layer = name.removesuffix(".SCB")
                layers[layer] = entries[f"{layer}.weight"].elements
        return layers

    def runner(self, model: Model, target: Target) -> Runner:
        """PyTorch with bitsandbytes' layers. Raises MissingError where it has no library for this machine."""
        require_library()
        return super().runner(model, target)


def require_library() -> None:
    """Load bitsandbytes, its warnings at each call of each layer left out.

    Raises MissingError where it has no native library for this machine.
    """
    # That it computes in a type of its own.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    from bitsandbytes import cextension

    if isinstance(cextension.lib, cextension.ErrorHandlerMockBNBNativeLibrary):
        raise MissingError(
            "bitsandbytes has no library for this machine.",
            where="bitsandbytes",
            accepted="Linux and Windows on x86-64 and ARM, macOS on ARM; for a GPU its CUDA version",
            hint="python -m bitsandbytes says what it looks for",
        )
