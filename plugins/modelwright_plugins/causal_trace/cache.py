"""A KV cache over the tensors that a traced step is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

Past = list[dict[str, "torch.Tensor"]]


class PastCache(Protocol):
    """A `transformers` cache over given tensors of shape [batch, heads, past, width].

    `present` is what it holds after the step. `total` is the length of past and step together, `total_length`
    that length as an int32 scalar and `last_index` [batch] the index of the last token.
    """

    past: Past
    present: Past
    total: int
    total_length: torch.Tensor
    last_index: torch.Tensor


def past_cache(past: Past, mask: torch.Tensor, ids: torch.Tensor, *, fused: bool) -> PastCache:
    """The cache of one step.

    With `fused`, new keys and values are handed to attention alone, which joins them with `past` itself and
    sets `present`. The length of the past is then that of the mask and not of the tensors, so that these may
    be buffers with room for more.
    """
    import torch
    from transformers.cache_utils import DynamicCache

    class OverTensors(DynamicCache):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.past = past
            self.present: Past = [{} for _ in past]
            if fused:
                self.total = mask.shape[1]
                self.seen = self.total - ids.shape[1]
                length = _length(mask)
                self.total_length = length.reshape(())
                self.last_index = (length - 1).expand(ids.shape[0])
            else:
                self.seen = past[0]["key"].shape[2]
                self.total = self.seen + ids.shape[1]

        def update(
            self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any, **__: Any
        ) -> tuple[torch.Tensor, torch.Tensor]:
            if fused:
                return key_states, value_states
            held = self.past[layer_idx]
            key = torch.cat([held["key"], key_states], dim=2)
            value = torch.cat([held["value"], value_states], dim=2)
            self.present[layer_idx] = {"key": key, "value": value}
            return key, value

        def get_seq_length(self, layer_idx: int = 0) -> int:
            return self.seen

        def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
            return self.total, 0

    return OverTensors()


def _length(mask: torch.Tensor) -> torch.Tensor:
    """The number of columns as int32 of shape [1], read off the mask when the graph runs."""
    import torch

    length: torch.Tensor = torch.onnx.ops.symbolic(
        "Shape", (mask,), {"start": 1, "end": 2}, dtype=torch.int64, shape=(1,), version=23
    )
    return length.to(torch.int32)
