"""Blocks run one by one give what the whole network gives, in every family."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modelwright.errors import RecipeError, StageError
from modelwright_plugins.blockwise.matrices import blocks_of, matrices_of
from modelwright_plugins.blockwise.name_patterns import chosen
from modelwright_plugins.blockwise.statistics import input_statistics
from modelwright_plugins.blockwise.walk import walk
from tests.plugins.anatomy.configs import ENCODERS, TINY_DECODERS

torch = pytest.importorskip("torch", reason="needs torch")
transformers = pytest.importorskip("transformers", reason="needs transformers")

# The first configuration of each family.
FAMILIES = {
    config["model_type"]: config for config in reversed([*TINY_DECODERS.values(), *ENCODERS.values()])
}


def network_of(config: dict[str, Any], dtype: str = "float32") -> Any:
    named = dict(config)
    made = transformers.AutoConfig.for_model(named.pop("model_type"), **named)
    torch.manual_seed(0)
    auto = transformers.AutoModelForCausalLM if config in TINY_DECODERS.values() else transformers.AutoModel
    network = auto.from_config(made, dtype=getattr(torch, dtype)).eval()
    with torch.no_grad():
        for parameter in network.parameters():  # large enough for each layer to matter
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return network


def batches(lengths: tuple[int, ...] = (12, 7)) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [
        {
            "input_ids": rng.integers(3, 90, (1, length)),
            "attention_mask": np.ones((1, length), np.int64),
        }
        for length in lengths
    ]


def outputs_of_last_block(network: Any, batch: dict[str, np.ndarray]) -> Any:
    found: list[Any] = []
    _, blocks = blocks_of(network)
    handle = blocks[-1].register_forward_hook(lambda module, inputs, output: found.append(output))
    with torch.no_grad():
        network(**{name: torch.from_numpy(array) for name, array in batch.items()}, **no_cache(network))
    handle.remove()
    return found[0][0] if isinstance(found[0], tuple) else found[0]


def no_cache(network: Any) -> dict[str, bool]:
    return {"use_cache": False} if network.can_generate() else {}


@pytest.mark.parametrize("name", FAMILIES)
def test_walking_gives_what_the_network_gives(name: str) -> None:
    network = network_of(FAMILIES[name])
    given = batches()
    expected = [outputs_of_last_block(network, batch) for batch in given]
    for block in walk(network, given, "cpu"):
        found = [block.run(number) for number in range(len(given))]
    for given_back, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(given_back, wanted, rtol=1e-4, atol=1e-5)


def test_what_is_changed_in_a_block_reaches_those_behind_it_in_the_weights_own_type() -> None:
    network = network_of(TINY_DECODERS["llama"], "bfloat16")
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for number, block in enumerate(walk(network, batches(), "cpu")):
        assert {matrix.weight.dtype for matrix in block.matrices} == {torch.float32}
        if number == 0:
            last = block.matrices[-1]
            last.weight.mul_(2)
            entering = [tensor.clone() for tensor in block.hidden]
        else:
            assert not torch.equal(entering[0], block.hidden[0])
    assert {tensor.dtype for tensor in network.state_dict().values()} == {torch.bfloat16}
    changed = [
        name for name, tensor in network.state_dict().items() if not torch.equal(tensor, weights[name])
    ]
    assert changed == [f"{last.name}.weight"]
    torch.testing.assert_close(network.state_dict()[changed[0]], 2 * weights[changed[0]])


def test_statistics_are_those_of_the_inputs() -> None:
    network = network_of(TINY_DECODERS["llama"])
    block = next(walk(network, batches(), "cpu"))
    matrix = next(found for found in block.matrices if found.name.endswith("down_proj"))
    inputs: list[Any] = []
    handle = matrix.module.register_forward_pre_hook(lambda module, given: inputs.append(given[0][0].clone()))
    hessian = input_statistics(block, block.matrices, "hessian")
    handle.remove()
    rows = torch.cat(inputs)
    assert len(rows) == 12 + 7
    torch.testing.assert_close(hessian[matrix.name], rows.T @ rows / len(rows))
    energy = input_statistics(block, [matrix], "energy")
    torch.testing.assert_close(energy[matrix.name], hessian[matrix.name].diagonal())
    names = [f"model.layers.0.self_attn.{kind}_proj" for kind in "qkv"]
    assert len({hessian[name].data_ptr() for name in names}) == 1  # they read one input


def test_statistics_of_what_is_not_finite_are_refused() -> None:
    network = network_of(TINY_DECODERS["llama"])
    network.model.embed_tokens.weight.data.fill_(float("inf"))
    block = next(walk(network, batches(), "cpu"))
    with pytest.raises(StageError, match="are not finite on the calibration data"):
        input_statistics(block, block.matrices, "energy")


def test_a_transposed_weight_is_seen_as_outputs_by_inputs() -> None:
    network = network_of(TINY_DECODERS["gpt2"])
    prefix, blocks = blocks_of(network)
    matrix = matrices_of(blocks, prefix)[0]
    assert matrix.name == "transformer.h.0.attn.c_attn"
    assert matrix.weight.shape == (96, 32)
    matrix.weight[5] = 7.0
    assert (network.transformer.h[0].attn.c_attn.weight[:, 5] == 7.0).all()


NAMES = ["layers.0.q_proj", "layers.0.up_proj", "layers.1.q_proj", "layers.1.up_proj"]


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ((), (), NAMES),
        (("*.0.*",), (), NAMES[:2]),
        ((), ("*q_proj",), [NAMES[1], NAMES[3]]),
        (("*q_proj", "*.1.*"), ("layers.1.up_proj",), [NAMES[0], NAMES[2]]),
    ],
)
def test_patterns_choose_layers(include, exclude, expected) -> None:
    assert chosen(NAMES, include, exclude, ("include", "exclude")) == expected


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"'layers\.0\.q_prj' matches no layer") as refused:
        chosen(NAMES, (), ("layers.0.q_prj",), ("include", "stages.prune.exclude"))
    assert refused.value.where == "stages.prune.exclude"
    assert refused.value.hint == "did you mean 'layers.0.q_proj'?"
    with pytest.raises(RecipeError, match="leave no layer"):
        chosen(NAMES, (), ("*",), ("include", "exclude"))


def test_what_blocks_share_is_held_once() -> None:
    """Positions and masks, which in another type than float32 would be copied for each block."""
    network = network_of(TINY_DECODERS["llama"], "bfloat16")
    angles = [
        [named["position_embeddings"][0].data_ptr() for _, named in block.arguments]
        for block in walk(network, batches(), "cpu")
    ]
    assert len(angles) == len(blocks_of(network)[1]) > 1
    assert all(pointers == angles[0] for pointers in angles)
    assert len({*angles[0]}) == 2
