"""A checkpoint in the format of compressed-tensors, weights packed into 32-bit words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelwright_plugins.blockwise.rounding import Codes, Scheme

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class PackedCheckpoint:
    """A network some of whose weights are replaced by codes when it is saved.

    Codes wait in the folder `scratch` until then, and not beside the weights they replace.
    """

    def __init__(self, network: PreTrainedModel, scheme: Scheme, scratch: Path, *, act_order: bool) -> None:
        self._network = network
        self._scheme = scheme
        self._scratch = scratch
        self._act_order = act_order
        self._files: dict[str, Path] = {}

    def add(self, name: str, codes: Codes) -> None:
        """Pack the codes of the layer with this name."""
        import torch
        from compressed_tensors.compressors.pack_quantized import pack_to_int32
        from safetensors.torch import save_file

        stored = self._scheme.stored
        packed = {
            f"{name}.weight_packed": pack_to_int32(codes.codes.cpu(), codes.bits),
            f"{name}.weight_scale": codes.scales.to("cpu", stored).contiguous(),
            f"{name}.weight_shape": torch.tensor(codes.codes.shape),
        }
        if not self._scheme.symmetric:
            zeros = codes.zeros.to("cpu", torch.int8)
            packed[f"{name}.weight_zero_point"] = pack_to_int32(zeros, codes.bits, packed_dim=0)
        file = self._scratch / f"{len(self._files):05}.safetensors"
        save_file(packed, file)
        self._files[f"{name}.weight"] = file

    def save(self, out: Path, kept: Sequence[str]) -> None:
        """Write weights and config.json; `kept` are the linear layers that stay in floating point."""
        from safetensors.torch import load_file

        tensors = {
            name: tensor for name, tensor in self._network.state_dict().items() if name not in self._files
        }
        for file in self._files.values():
            tensors |= load_file(file)
        self._network.config.quantization_config = self._config(kept)
        self._network.save_pretrained(out, state_dict=tensors)

    def _config(self, kept: Sequence[str]) -> dict[str, Any]:
        """As compressed-tensors writes it."""
        from compressed_tensors.quantization import QuantizationArgs, QuantizationConfig, QuantizationScheme

        group = self._scheme.group
        weights = QuantizationArgs(
            num_bits=self._scheme.bits,
            symmetric=self._scheme.symmetric,
            strategy="channel" if group is None else "group",
            group_size=group,
            actorder="weight" if self._act_order else None,
        )
        config = QuantizationConfig(
            config_groups={"group_0": QuantizationScheme(targets=["Linear"], weights=weights)},
            format="pack-quantized",
            quantization_status="compressed",
            ignore=[*kept],
        )
        found: dict[str, Any] = config.model_dump(mode="json", exclude_none=True)
        # transformers 5.23 finds packed zero points of another shape than it expects, unless told to unpack
        # weights as it loads them. Others pass over the key.
        return found if self._scheme.symmetric else {**found, "dequantize": True}
