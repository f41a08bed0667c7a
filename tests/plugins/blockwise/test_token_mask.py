from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("transformers", reason="needs transformers")

import torch

from modelwright_plugins.blockwise.token_mask import TokenMask
from tests.plugins.anatomy.configs import TINY_DECODERS
from tests.plugins.blockwise.test_walk import network_of


def test_values_of_padding_are_left_out() -> None:
    network = network_of(TINY_DECODERS["llama"])
    mask = TokenMask(network)
    seen: list[Any] = []
    network.model.layers[0].mlp.register_forward_pre_hook(
        lambda module, inputs: seen.append(mask.rows(inputs[0]))
    )
    ids = torch.arange(3, 15).reshape(2, 6)
    attended = torch.tensor([[1] * 6, [1, 1, 0, 0, 0, 0]])
    with torch.no_grad():
        network(input_ids=ids, attention_mask=attended)
        network(input_ids=ids)
    assert [len(rows) for rows in seen] == [8, 12]
    torch.testing.assert_close(seen[0][:6], seen[1][:6])
    mask.remove()
