"""Checkpoints in the compressed-tensors format, run by PyTorch and by vLLM."""

from __future__ import annotations

from pathlib import Path

from modelwright_plugins.format.quantized_checkpoint import QuantizedCheckpoint
from modelwright_plugins.format.weight_files import weight_files

SHAPE = ".weight_shape"


class CompressedTensors(
    QuantizedCheckpoint,
    name="compressed_tensors",
    requires=("torch", "transformers", "accelerate", "compressed-tensors"),
):
    """A folder `from_pretrained` and vLLM load: integer weights packed into 32 bits (pack-quantized).

    vLLM runs them packed. PyTorch unpacks a layer when it is first used, so that there the model takes the
    memory of its floats and no less time.
    """

    quant_method = "compressed-tensors"

    def quantized_layers(self, path: Path) -> dict[str, int]:
        """Layers with packed weights, by the shapes that are stored beside them."""
        from safetensors import safe_open

        layers: dict[str, int] = {}
        for file in weight_files(path):
            with safe_open(file, framework="numpy") as tensors:
                for name in tensors.keys():  # noqa: SIM118 - no mapping
                    if name.endswith(SHAPE):
                        layers[name.removesuffix(SHAPE)] = int(tensors.get_tensor(name).prod())
        return layers
