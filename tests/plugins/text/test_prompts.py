from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from modelwright.api.model import GenerationSpec, Model
from modelwright.errors import RecipeError
from modelwright_plugins.format.torch import Torch
from modelwright_plugins.text.prompts import PromptTokenizer
from modelwright_plugins.text.steps import append_tokens, positions


def test_batches_are_padded_on_the_left(tiny_causal: Model) -> None:
    assert tiny_causal.spec.generation is not None
    prompts = PromptTokenizer(tiny_causal.path, tiny_causal.spec.generation)
    rows = prompts.encode(["the cat", "x", ""])
    assert rows[2] == [0]
    inputs = prompts.batch(rows)
    assert inputs["input_ids"].shape == (3, len(rows[0]))
    assert inputs["attention_mask"].sum(axis=1).tolist() == [len(row) for row in rows]
    assert inputs["input_ids"][1, -1] == rows[1][0]
    assert prompts.decode(rows[0]) == "the cat"


def test_samples_hold_no_special_token(tiny_causal: Model) -> None:
    assert tiny_causal.spec.generation is not None
    prompts = PromptTokenizer(tiny_causal.path, tiny_causal.spec.generation)
    ids = prompts.sample(40, 50, seed=0)["input_ids"]
    assert 0 not in ids
    assert ids.max() < 264


def test_a_tokenizer_of_another_checkpoint_is_refused(tiny_causal: Model) -> None:
    with pytest.raises(RecipeError, match="gives ids up to 263, the model knows 200 tokens"):
        PromptTokenizer(tiny_causal.path, GenerationSpec(vocabulary=200))


def changed(tiny_causal: Model, tmp_path: Path, **files: dict[str, object]) -> Path:
    folder = shutil.copytree(tiny_causal.path, tmp_path / "changed")
    for name, values in files.items():
        file = folder / f"{name}.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
    return folder


def ends(folder: Path) -> tuple[int, ...]:
    generation = Torch().describe(folder).generation
    assert generation is not None
    return generation.end


def test_the_ends_are_those_of_the_generation_config_or_of_the_config(
    tiny_causal: Model, tmp_path: Path
) -> None:
    both = changed(tiny_causal, tmp_path / "a", generation_config={"eos_token_id": [3, 5]})
    assert ends(both) == (3, 5)
    empty = changed(
        tiny_causal, tmp_path / "b", generation_config={"eos_token_id": None}, config={"eos_token_id": 7}
    )
    assert ends(empty) == (7,)


@pytest.mark.parametrize("token", [264, -1, True, "0"])
def test_an_end_that_is_no_token_is_refused(tiny_causal: Model, tmp_path: Path, token: object) -> None:
    folder = changed(tiny_causal, tmp_path, generation_config={"eos_token_id": token})
    with pytest.raises(RecipeError, match="The token that ends a text is") as caught:
        Torch().describe(folder)
    assert "generation_config.json" in (caught.value.where or "")


def test_positions_leave_padding_out() -> None:
    mask = np.array([[0, 0, 1, 1], [1, 1, 1, 1]])
    assert positions(mask, 3).tolist() == [[0, 0, 1], [1, 2, 3]]
    column, longer = append_tokens(mask, np.array([7, 8]))
    assert column.tolist() == [[7], [8]]
    assert positions(longer, 1).tolist() == [[2], [4]]
