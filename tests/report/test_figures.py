from __future__ import annotations

from typing import Any

import pytest
from sample import released
from sample_values import exactly, interval, latency, quality

from modelwright.api.metric import Direction, Interval, Value
from modelwright.report import figures


def value(better: Direction = "higher", **fields: Any) -> Value:
    return Value(name="retrieval.mrr", better=better, candidate=Interval.exactly(0.49), **fields)


def between(low: float, high: float) -> Interval:
    return Interval(value=(low + high) / 2, low=low, high=high)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("latency.p50", "Latency p50"),
        ("retrieval.mrr", "Retrieval MRR"),
        ("memory.peak_rss", "Memory peak RSS"),
    ],
)
def test_titles(name: str, title: str) -> None:
    assert figures.title(name) == title


def test_conditions() -> None:
    assert figures.conditions({"batch": 1, "length": 128}) == "batch 1 × 128 tokens"
    assert figures.conditions({"batch": 4, "after_warmup": "yes"}) == "batch 4, after warmup yes"
    assert figures.conditions({}) == ""


def test_figures_are_grouped_by_their_unit() -> None:
    groups = {found.name: figures.group_of(found) for found in released().values}
    assert groups == {
        "retrieval.mrr": "Quality",
        "retrieval.recall": "Quality",
        "latency.p50": "Speed",
        "throughput.texts_per_second": "Speed",
        "memory.peak": "Memory",
        "size.disk": "Size",
        "fusion.attention": "Other",
    }


def test_a_difference_is_shown_in_percent_with_its_sign() -> None:
    drop = value(baseline=Interval.exactly(0.5), difference=between(-0.03, 0.01))
    assert figures.change(drop) == ("−1.0\N{NARROW NO-BREAK SPACE}%", "−3.0 to +1.0")
    assert figures.change(value()) is None


def test_a_gate_is_told_without_what_stands_beside_it() -> None:
    told = [figures.asked(gate) for gate in released().gates]
    assert told == ["drops at most 3%", "at least 2x faster", "at most 30 MB", "at least 6"]


@pytest.mark.parametrize(
    ("low", "high", "better", "meaning"),
    [
        (0.01, 0.03, "higher", "better"),
        (-0.03, -0.01, "higher", "worse"),
        (-0.03, 0.01, "higher", "no clear change"),
        (0.01, 0.03, "lower", "worse"),
        (-0.03, -0.01, "lower", "better"),
        (0.0, 0.0, "exact", "equal"),
        (1.0, 1.0, "exact", "differs"),
    ],
)
def test_a_change_counts_only_when_its_whole_interval_says_so(
    low: float, high: float, better: Direction, meaning: str
) -> None:
    assert figures.meaning(value(better, baseline=interval(0.5, 0), difference=between(low, high))) == meaning


def test_a_ratio_below_one_is_told_the_other_way_round() -> None:
    assert figures.times(latency(1, 128, 10, 25)) == ("2.50× slower", "2.31 to 2.71")
    assert figures.times(exactly("size.disk", "bytes", 100, 25)) == ("4.00× smaller", "")
    assert figures.times(exactly("size.disk", "bytes", 100, 100)) == ("equal", "")
    assert figures.times(value()) is None


def test_the_headline_prefers_what_a_gate_asks_about() -> None:
    report = released()
    chosen = figures.headline(report.values, report.gates)
    assert [found.name for found in chosen] == ["retrieval.mrr", "latency.p50", "memory.peak", "size.disk"]
    assert chosen[1].at == {"batch": 1, "length": 128}
    assert figures.headline(report.values, [])[1].at == {"batch": 1, "length": 16}


def test_a_figure_without_a_baseline_leads_only_when_a_gate_asks_about_it() -> None:
    lonely = Value(name="parity.cosine_mean", data="docs", better="higher", candidate=interval(0.99, 0.001))
    gate = released().gates[0].model_copy(update={"metric": "parity.cosine_mean"})
    assert figures.headline([lonely], []) == []
    assert figures.headline([lonely], [gate]) == [lonely]


def test_what_is_kept_is_a_share_of_the_baseline_or_its_inverse() -> None:
    found = figures.kept(quality("retrieval.mrr", 0.5, 0.45, -0.12, -0.08))
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.9, 0.88, 0.92))
    worse = quality("perplexity.value", 20.0, 25.0, 0.2, 0.3).model_copy(update={"better": "lower"})
    found = figures.kept(worse)
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.8, 1 / 1.3, 1 / 1.2))
    assert figures.kept(worse.model_copy(update={"baseline": None})) is None
