from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from modelwright.api.model import ModelSpec, Pooling
from modelwright.errors import RecipeError
from modelwright_plugins.text.pooling import pool
from modelwright_plugins.training.example import Example, Examples
from tests.plugins.stage_context import FolderContext

pytest.importorskip("torch", reason="needs torch")

import torch
from safetensors.torch import save

from modelwright_plugins.distill.outputs import MANIFEST, SHARD, OutputsError, Row, Teach, TeacherOutputs
from modelwright_plugins.text.torch_pooling import pooled

EXAMPLES = Examples(
    [Example((number, 1), number, "train") for number in range(2 * SHARD + 1)],
    [Example((number, 2), number, "validation") for number in range(3)],
)


def test_a_pass_that_was_killed_goes_on_at_the_first_missing_file(tmp_path: Path) -> None:
    taught: list[int] = []

    def load(enough: int) -> Teach:
        def teach(examples: Sequence[Example]) -> list[Row]:
            if len(taught) == enough:
                raise KeyboardInterrupt
            taught.append(len(examples))
            return [{"sum": torch.tensor([sum(example.tokens)])} for example in examples]

        return teach

    def outputs() -> TeacherOutputs:
        return TeacherOutputs(tmp_path / "kept", {"teacher": "a"}, EXAMPLES, "offline")

    ctx = FolderContext(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        outputs().make(lambda: load(2), ctx)
    digest = outputs().make(lambda: load(9), ctx)
    assert taught == [SHARD, SHARD, 1, 3]
    assert outputs().make(lambda: load(0), ctx) == digest
    wanted = [EXAMPLES.held_out[2], EXAMPLES.train[SHARD + 7], EXAMPLES.train[0]]
    again = TeacherOutputs(tmp_path / "again", {"teacher": "a"}, EXAMPLES, "offline")
    assert again.make(lambda: load(99), ctx) == digest
    assert [int(row["sum"]) for row in outputs().rows(wanted)] == [4, SHARD + 8, 1]


DAMAGE = {
    "manifest.json": [b"", b"{", b"[]", b"{}"],
    "train-00001.safetensors": [b"", b"no tensors", save({"foreign": torch.ones(2)})],
}


@pytest.mark.parametrize(
    ("file", "content"), [(file, content) for file, found in DAMAGE.items() for content in found]
)
def test_damaged_outputs_are_made_again_or_refused(file: str, content: bytes, tmp_path: Path) -> None:
    def load() -> Teach:
        return lambda examples: [{"sum": torch.tensor([sum(example.tokens)])} for example in examples]

    def outputs(where: str | None) -> TeacherOutputs:
        return TeacherOutputs(tmp_path / "kept", {"teacher": "a"}, EXAMPLES, where)

    ctx = FolderContext(tmp_path / "run")
    digest = outputs(None).make(load, ctx)
    if file != MANIFEST:  # a pass that was killed
        (tmp_path / "kept" / MANIFEST).unlink()
    (tmp_path / "kept" / file).write_bytes(content)
    with pytest.raises(OutputsError, match=f"are damaged: {file}") as caught:
        outputs("stages.distill.offline").make(load, ctx)
    assert caught.value.where == f"stages.distill.offline: {tmp_path / 'kept'}"
    assert outputs(None).make(load, ctx) == digest


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    outputs = TeacherOutputs(tmp_path / "kept", {"teacher": "a"}, EXAMPLES, "stages.distill.offline")
    with pytest.raises(RecipeError, match="Cannot keep the teacher's outputs: File exists"):
        outputs.make(lambda: pytest.fail("no teacher is needed"), FolderContext(tmp_path / "run"))
    assert (tmp_path / "kept").read_text() == "mine"


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
@pytest.mark.parametrize("normalize", [True, False])
def test_students_are_pooled_as_runners_pool(pooling: Pooling, normalize: bool) -> None:
    tokens = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]])
    spec = ModelSpec(
        format="torch", task="embed", architecture="BertModel", pooling=pooling, normalize=normalize
    )
    expected = pool(tokens.numpy(), mask.numpy(), pooling, normalize)
    np.testing.assert_allclose(pooled(tokens, mask, spec).numpy(), expected, rtol=1e-5, atol=1e-6)
