"""Checkpoints quantized by torchao, run by PyTorch."""

from __future__ import annotations

from pathlib import Path

from modelwright_plugins.format.quantized_checkpoint import QuantizedCheckpoint, tensor_entries

CODES = "._weight_qdata"


class TorchAO(
    QuantizedCheckpoint, name="torchao", requires=("torch", "transformers", "accelerate", "torchao")
):
    """A folder `from_pretrained` loads where torchao is installed: int8 weights in safetensors."""

    quant_method = "torchao"

    def quantized_layers(self, path: Path) -> dict[str, int]:
        """Layers with codes."""
        return {
            name.removesuffix(CODES): entry.elements
            for name, entry in tensor_entries(path).items()
            if name.endswith(CODES)
        }
