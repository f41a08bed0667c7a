from __future__ import annotations

import pytest

from modelwright.api.anatomy import Anatomy, Module, Shape, Tensor
from modelwright.api.model import ModelSize
from modelwright_plugins.anatomy.block_layers import BlockLayer, block_layers

MODULES = (
    Module("model.embed_tokens", (Tensor("weight", (90, 24), "embedding"),)),
    Module("model.layers.0.mlp.down_proj", (Tensor("weight", (24, 40), "linear", 40),)),
    Module("model.layers.0.mlp.c_fc", (Tensor("weight", (24, 96), "linear", 24),)),  # of inputs x outputs
    Module("model.layers.0.mlp.gate", (Tensor("weight", (5, 24), "linear", 24),)),
    Module("model.layers.0.mlp.experts", (Tensor("gate_up_proj", (5, 24, 80), "linear", 24),)),
    Module("model.layers.0.conv.conv", (Tensor("weight", (24, 1, 3), "linear", 3),)),
    Module("pooler.dense", (Tensor("weight", (24, 24), "linear", 24),)),
)


def size_of(shape: Shape) -> ModelSize:
    anatomy = Anatomy(architecture="A", model_type="a", dtype="float32", modules=MODULES, shape=shape)
    return ModelSize(parameters=anatomy.parameters, weight_bytes=1, anatomy=anatomy)


def test_layers_of_blocks_are_those_that_stages_take() -> None:
    assert [*block_layers(size_of(Shape(hidden=24)))] == [
        BlockLayer("model.layers.0.mlp.down_proj", outputs=24, inputs=40),
        BlockLayer("model.layers.0.mlp.c_fc", outputs=96, inputs=24),
    ]


def test_nothing_is_said_of_an_architecture_that_only_headers_describe() -> None:
    assert [*block_layers(size_of(Shape()))] == []
    assert [*block_layers(ModelSize(parameters=1, weight_bytes=1))] == []


@pytest.mark.parametrize("pattern", ["model.layers.0.*", "layers.0.mlp.down_proj", "*.down_proj"])
def test_a_layer_goes_by_its_name_with_and_without_its_prefix(pattern: str) -> None:
    assert next(block_layers(size_of(Shape(hidden=24)))).matches((pattern,))
    assert not next(block_layers(size_of(Shape(hidden=24)))).matches(("layers.1.*",))
