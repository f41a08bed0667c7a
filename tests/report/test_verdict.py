from __future__ import annotations

from sample import GATES, bare, failed, rejected, released

from modelwright.report.verdict import verdict_words


def test_each_verdict_in_words() -> None:
    assert verdict_words(released()) == ("Released as version 3", "All 4 gates passed.", True)
    assert verdict_words(released(gates=GATES[:1])).explanation == "The gate passed."
    assert verdict_words(released(gates=[])).explanation == "The recipe asks for no gate."
    assert verdict_words(rejected()) == ("Rejected: 2 of 4 gates failed", "Nothing was published.", False)
    assert verdict_words(failed()).headline == "Failed"
    assert not verdict_words(failed()).good
    assert verdict_words(bare()).headline == "Unchanged: version 1 stands"
    assert verdict_words(bare()).good
