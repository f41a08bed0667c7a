from __future__ import annotations

import pytest
from pydantic import JsonValue

from modelwright.report.records import MAX_ROWS, Curve, Pairs, Table, Text, cell, lay_out, literal


def test_a_list_of_mappings_is_a_table_of_all_their_keys() -> None:
    laid = lay_out([{"node": "a", "cosine": 0.9}, {"node": "b", "kept": True}])
    assert laid == Table(
        ["node", "cosine", "kept"], [False, True, False], [["a", "0.9000", "–"], ["b", "–", "yes"]], 0
    )


def test_a_long_table_says_how_much_it_leaves_out() -> None:
    laid = lay_out([{"row": row} for row in range(MAX_ROWS + 5)])
    assert isinstance(laid, Table)
    assert (len(laid.rows), laid.left_out) == (MAX_ROWS, 5)


def test_numbers_are_a_curve_and_a_few_of_them_text() -> None:
    assert lay_out([1, 2.5, 3]) == Curve([1.0, 2.5, 3.0])
    assert lay_out([1, 2]) == Text("1, 2")
    assert lay_out([True, False, True]) == Text("yes, no, yes")


def test_a_mapping_is_pairs_all_the_way_down() -> None:
    assert lay_out({"curves": {"loss": [3, 2, 1]}, "chosen": "b"}) == Pairs(
        [("curves", Pairs([("loss", Curve([3.0, 2.0, 1.0]))])), ("chosen", Text("b"))]
    )


@pytest.mark.parametrize("empty", [[], {}])
def test_nothing_is_said_to_be_nothing(empty: JsonValue) -> None:
    assert lay_out(empty) == Text("none")


@pytest.mark.parametrize(
    ("key", "text"),
    [("p50_seconds", "12.0 ms"), ("peak_bytes", "0.0120 B"), ("cosine", "0.0120"), ("p50_ms", "12.0 µs")],
)
def test_a_name_may_tell_the_unit(key: str, text: str) -> None:
    if key == "peak_bytes":
        assert cell(612 * 2**20, key).split() == ["612", "MiB"]
    else:
        assert " ".join(cell(0.012, key).split()) == text


def test_parameters_read_as_in_the_recipe() -> None:
    assert [literal(item) for item in ("cpu", True, None, 0.5, ["a"], "")] == [
        "cpu",
        "true",
        "null",
        "0.5",
        '["a"]',
        '""',
    ]
