import logging
import random

import pytest
from pydantic import ValidationError

from modelwright.api.dataset import SPLITS
from modelwright.errors import RecipeError
from modelwright_plugins.dataset.splits import Candidate, Shares, cut, split_named

TEXTS = [f"A text about subject {number}." for number in range(2000)]


def candidates(texts, **more):
    return [Candidate({"text": text}, **more) for text in texts]


def texts_by_split(result):
    return {split: [record["text"] for record in result.records[split]] for split in SPLITS}


def test_no_text_is_in_two_splits_and_none_is_lost():
    found = texts_by_split(cut(candidates(TEXTS), Shares()))
    assert sorted(text for texts in found.values() for text in texts) == sorted(TEXTS)


def test_sizes_follow_the_shares_whatever_their_sum():
    found = cut(candidates(TEXTS), Shares(train=5, calibration=1, validation=1, test=3)).records
    assert found == cut(candidates(TEXTS), Shares()).records
    sizes = {split: len(found[split]) / len(TEXTS) for split in SPLITS}
    assert sizes == pytest.approx(
        {"train": 0.5, "calibration": 0.1, "validation": 0.1, "test": 0.3}, abs=0.03
    )


def test_a_record_stays_in_its_split_when_others_come_and_the_order_changes():
    before = texts_by_split(cut(candidates(TEXTS[:500]), Shares()))
    shuffled = random.Random(7).sample(TEXTS, len(TEXTS))
    after = texts_by_split(cut(candidates(shuffled), Shares()))
    for split in SPLITS:
        assert before[split]
        assert [text for text in after[split] if text in set(TEXTS[:500])] == before[split]


def test_texts_that_differ_in_case_and_spaces_are_one_text():
    result = cut(candidates(["Caf\u00e9  au lait", "CAFE\u0301 au\n lait", "cafe\u0301 au lait "]), Shares())
    assert sum(map(len, result.records.values())) == 1
    assert result.duplicates == 2


def test_queries_on_one_passage_share_a_split():
    asked = [Candidate({"query": f"question {n}", "passage": "the one answer"}) for n in range(40)]
    sizes = [len(records) for records in cut(asked, Shares()).records.values()]
    assert sorted(sizes) == [0, 0, 0, 40]


def test_a_group_stays_together():
    grouped = [Candidate({"text": f"{name} {n}"}, group=name) for name in "abcdefgh" for n in range(20)]
    found = texts_by_split(cut(grouped, Shares()))
    homes = {name: {s for s in SPLITS for text in found[s] if text.startswith(name)} for name in "abcdefgh"}
    assert all(len(home) == 1 for home in homes.values())
    assert len({min(home) for home in homes.values()}) > 1


def test_splits_of_the_data_are_kept_and_repeated_texts_leave_the_later_one(caplog):
    own = [
        *candidates(["one", "two"], split="train"),
        *candidates(["three"], split="calibration"),
        *candidates(["four"], split="validation"),
        *candidates(["TWO", "five"], split="test"),
    ]
    with caplog.at_level(logging.WARNING):
        result = cut(own, Shares())
    found = texts_by_split(result)
    assert found["test"] == ["five"]
    assert sorted(found["train"]) == ["one", "two"]
    assert (result.overlaps, result.duplicates) == (1, 0)
    assert "records of 'test' left out, as an earlier split has them: 1" in caplog.text


def test_a_split_that_the_data_lacks_is_cut_from_its_train_split():
    own = [*candidates(TEXTS[:1000], split="train"), *candidates(TEXTS[1000:1100], split="test")]
    found = texts_by_split(cut(own, Shares()))
    assert sorted(found["test"]) == sorted(TEXTS[1000:1100])
    assert set(found["calibration"]) < set(TEXTS[:1000])
    assert len(found["calibration"]) == pytest.approx(1000 / 7, abs=40)


def test_a_share_of_zero_gives_an_empty_split():
    found = cut(candidates(TEXTS), Shares(train=0, calibration=1, validation=1, test=0)).records
    assert [len(found[split]) for split in ("train", "test")] == [0, 0]


def test_an_empty_split_says_how_many_records_there_are():
    result = cut(candidates(["a single text"], split="train"), Shares(train=1, calibration=0, validation=0))
    with pytest.raises(RecipeError) as caught:
        result.take("calibration", None, "data set 'docs'")
    words = str(caught.value)
    assert "The split 'calibration' is empty. Records in all: 1 (train 1," in words
    assert "shares.calibration" in words
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("shares", [{"train": -1}, {"trian": 1}, dict.fromkeys(SPLITS, 0), {"test": "inf"}])
def test_shares_that_make_no_sense_are_refused(shares):
    with pytest.raises(ValidationError):
        Shares(**shares)


def test_usual_names_of_splits():
    assert [split_named(word, "f") for word in ("Train", "dev", " val ", "TEST")] == [
        *("train", "validation", "validation", "test")
    ]
    with pytest.raises(RecipeError, match="'holdout' is not a split"):
        split_named("holdout", "f")
