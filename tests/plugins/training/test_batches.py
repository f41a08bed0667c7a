from __future__ import annotations

import random

from modelwright_plugins.training.batches import BatchOrder, by_length

LENGTHS = [random.Random(index).randint(1, 200) for index in range(1000)]


def test_each_epoch_sees_every_example_once_in_another_order() -> None:
    order = BatchOrder(LENGTHS, batch_size=8, seed=1)
    first, second = ([order.batch(step) for step in range(at, at + 125)] for at in (0, 125))
    for epoch in (first, second):
        assert sorted(index for batch in epoch for index in batch) == list(range(1000))
    assert first != second


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    expected = [BatchOrder(LENGTHS, 32, seed=1).batch(step) for step in (70, 3)]
    order = BatchOrder(LENGTHS, 32, seed=1)
    assert [order.batch(70), order.batch(3)] == expected
    assert BatchOrder(LENGTHS, 32, seed=2).batch(3) != expected[1]


def test_a_batch_holds_texts_of_similar_length() -> None:
    order = BatchOrder(LENGTHS, batch_size=8, seed=1)
    padded = sum(8 * max(LENGTHS[index] for index in order.batch(step)) for step in range(order.per_epoch))
    assert padded < 1.1 * sum(LENGTHS)


def test_evaluation_takes_all_the_shortest_first() -> None:
    batches = by_length(LENGTHS, 64)
    lengths = [LENGTHS[index] for batch in batches for index in batch]
    assert lengths == sorted(LENGTHS)
    assert len(batches[-1]) == 1000 % 64
