from __future__ import annotations

import pytest

from modelwright.api.model import Model
from modelwright.errors import StageError
from modelwright.testing.texts import sentences
from tests.plugins.lookup_runner import LookupRunner


def test_outputs_that_are_not_finite_are_refused_with_their_number(tiny_checkpoint: Model) -> None:
    texts = sentences(20)
    vocabulary = LookupRunner(tiny_checkpoint).tokenizer.vocabulary_size
    some = LookupRunner(tiny_checkpoint, broken_from=vocabulary - 2)
    ids = [set(some.tokenizer([text])["input_ids"][0].tolist()) for text in texts]
    broken = sum(bool(found & {vocabulary - 1, vocabulary - 2}) for found in ids)
    assert 0 < broken < 20
    with pytest.raises(StageError, match=f"gives NaN or infinity for {broken} of 20 texts") as caught:
        some.run(texts, batch_size=1)
    assert caught.value.where == "the torch model (float32)"
    assert LookupRunner(tiny_checkpoint).run(texts).shape == (20, 16)
