"""Which tokens of the current forward pass are not padding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


class TokenMask:
    """Watches the attention masks that a network is called with, until `remove`.

    >>> mask = TokenMask(network)
    >>> mask.rows(values)          # within a hook: values [batch, length, width] as rows, without padding
    """

    def __init__(self, network: PreTrainedModel) -> None:
        self._mask: torch.Tensor | None = None
        self._handle = network.register_forward_pre_hook(self._see, with_kwargs=True)

    def rows(self, values: torch.Tensor) -> torch.Tensor:
        """Values [..., width] as [tokens, width]; all of them where there is no mask of their shape."""
        if self._mask is None or self._mask.shape != values.shape[:-1]:
            return values.reshape(-1, values.shape[-1])
        return values[self._mask]

    def remove(self) -> None:
        """Watch no more."""
        self._handle.remove()

    def _see(self, module: torch.nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        mask = named.get("attention_mask")
        self._mask = None if mask is None else mask.bool()
