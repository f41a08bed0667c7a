"""Gates close at the pessimistic end of an interval."""

import pytest

from modelwright.api.metric import Interval, Value
from modelwright.recipe.schema import Gate
from modelwright.validation.gates import judge


def value(**changes) -> Value:
    fields = {
        "name": "retrieval.mrr",
        "better": "higher",
        "baseline": Interval(value=0.50, low=0.48, high=0.52),
        "candidate": Interval(value=0.49, low=0.47, high=0.51),
        "difference": Interval(value=-0.02, low=-0.03, high=-0.01),
        "ratio": Interval(value=2.5, low=2.2, high=2.8),
    }
    return Value.model_validate({**fields, **changes})


def passes(condition: dict, figure: Value) -> bool:
    gate = Gate.model_validate({"metric": figure.name, **condition})
    (result,) = judge({"g": gate}, [figure])
    return result.passed


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"at_least": 0.47}, True),
        ({"at_least": 0.48}, False),  # the value is above, the low end below
        ({"at_most": 0.51}, True),
        ({"at_most": 0.50}, False),
        ({"drop_at_most": "3%"}, True),
        ({"drop_at_most": "2.5%"}, False),
        ({"drop_at_most": 0.015}, True),  # 3 % of 0.50
        ({"drop_at_most": 0.014}, False),
    ],
)
def test_the_worse_end_decides(condition: dict, holds: bool):
    assert passes(condition, value()) is holds


@pytest.mark.parametrize(
    ("condition", "holds"),
    [({"faster_by": 2.2}, True), ({"faster_by": 2.3}, False), ({"rise_at_most": "-0%"}, True)],
)
def test_speed_is_judged_by_the_worse_end_of_its_ratio(condition: dict, holds: bool):
    assert passes(condition, value(name="latency.p50", unit="ms", better="lower")) is holds


@pytest.mark.parametrize(
    ("condition", "figure"),
    [
        ({"drop_at_most": "5%"}, {"name": "latency.p50", "unit": "ms", "better": "lower"}),
        ({"rise_at_most": "5%"}, {"better": "higher"}),
        ({"faster_by": 0.1}, {"name": "size.disk", "unit": "bytes", "better": "lower"}),
        ({"smaller_by": 0.1}, {"name": "latency.p50", "unit": "ms", "better": "lower"}),
    ],
)
def test_a_condition_that_would_guard_nothing_is_closed(condition: dict, figure: dict):
    gate = Gate.model_validate({"metric": figure.get("name", "retrieval.mrr"), **condition})
    (result,) = judge({"g": gate}, [value(**figure)])
    assert not result.passed
    assert "not judged" in result.reason


def test_without_a_baseline_a_change_is_not_judged_and_fails():
    lone = value(baseline=None, difference=None, ratio=None)
    assert not passes({"drop_at_most": "90%"}, lone)
    assert not passes({"faster_by": 0.1}, lone)


def test_a_figure_that_was_not_measured_fails():
    (result,) = judge({"g": Gate(metric="latency.p50", at_most=1e9)}, [value()])
    assert not result.passed
    assert result.measured is None


def test_an_ambiguous_gate_fails_and_says_what_matches():
    values = [value(name="latency.p50", at={"batch": batch}) for batch in (1, 16)]
    (result,) = judge({"g": Gate(metric="latency.p50", at_most=1e9)}, values)
    assert not result.passed
    assert "batch 1" in result.reason
    assert "batch 16" in result.reason


def test_at_and_data_select_one_of_several():
    values = [value(at={"batch": batch}, data=data) for batch in (1, 16) for data in ("a", "b")]
    (result,) = judge({"g": Gate(metric="retrieval.mrr", at={"batch": 16}, data="b", at_least=0)}, values)
    assert result.passed


def test_a_gate_with_two_conditions_is_two_results():
    results = judge({"g": Gate(metric="retrieval.mrr", at_least=0.1, at_most=0.2)}, [value()])
    assert [(result.name, result.passed) for result in results] == [
        ("g.at_least", True),
        ("g.at_most", False),
    ]
