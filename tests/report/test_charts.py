from __future__ import annotations

from xml.etree import ElementTree

from modelwright.report.charts import BAR_LEFT, BAR_RIGHT, Bar, BarGroup, bar_chart, line_chart, tick


def bar(value: float, low: float, high: float, kind: str = "candidate") -> Bar:
    return Bar(kind, value, low, high, f"{value} ms", kind)


def widths(svg: str) -> list[float]:
    return [float(rect.get("width", "nan")) for rect in ElementTree.fromstring(svg).iter("rect")]


def test_bars_are_in_proportion() -> None:
    svg = bar_chart("c", "Latency", [BarGroup("", [bar(30, 30, 30, "baseline"), bar(10, 10, 10)])])
    assert widths(svg) == [BAR_RIGHT - BAR_LEFT, (BAR_RIGHT - BAR_LEFT) / 3]


def test_the_upper_end_of_an_interval_fits_and_has_a_whisker() -> None:
    svg = bar_chart("c", "Latency", [BarGroup("", [bar(10, 8, 20)])])
    assert widths(svg) == [(BAR_RIGHT - BAR_LEFT) / 2]
    whisker = next(p for p in ElementTree.fromstring(svg).iter("path") if p.get("class") == "whisker")
    assert f"H{BAR_RIGHT:.1f}" in whisker.get("d", "")


def test_an_exact_figure_has_no_whisker() -> None:
    assert "whisker" not in bar_chart("c", "Size", [BarGroup("", [bar(10, 10, 10)])])


def test_groups_share_a_scale_until_the_small_would_vanish() -> None:
    near = [BarGroup("a", [bar(10, 10, 10)]), BarGroup("b", [bar(40, 40, 40)])]
    far = [BarGroup("a", [bar(1, 1, 1)]), BarGroup("b", [bar(40, 40, 40)])]
    full = BAR_RIGHT - BAR_LEFT
    assert widths(bar_chart("c", "t", near)) == [full / 4, full]
    assert widths(bar_chart("c", "t", far)) == [full, full]
    assert "own scale" in bar_chart("c", "t", far)
    assert "own scale" not in bar_chart("c", "t", near)


def test_the_description_reads_the_figures_out() -> None:
    svg = bar_chart("c", "Latency", [BarGroup("batch 1", [bar(30, 29, 31, "baseline"), bar(10, 9, 11)])])
    described = ElementTree.fromstring(svg).findtext("desc")
    assert described == "Bars: batch 1: baseline 30 ms, candidate 10 ms."


def test_hostile_labels_are_escaped() -> None:
    svg = bar_chart('"><script>', "<b>", [BarGroup("<i>", [Bar("<u>", 1, 1, 1, "<s>", '"x')])])
    assert {element.tag for element in ElementTree.fromstring(svg).iter()} <= {
        "svg",
        "title",
        "desc",
        "text",
        "rect",
        "line",
    }


def test_a_figure_that_is_not_finite_has_no_bar() -> None:
    assert widths(bar_chart("c", "t", [BarGroup("", [bar(float("nan"), 0, float("inf"))])])) == []


def test_an_empty_chart_and_zeros_still_draw() -> None:
    ElementTree.fromstring(bar_chart("c", "t", []))
    assert widths(bar_chart("c", "t", [BarGroup("", [bar(0, 0, 0)])])) == [1.0]


def test_a_line_starts_low_where_it_is_low_and_leaves_gaps() -> None:
    svg = ElementTree.fromstring(line_chart("c", "t", [1.0, 2.0, float("nan"), 3.0, 2.0]))
    runs = [line.get("points", "").split() for line in svg.iter("polyline")]
    assert [len(run) for run in runs] == [2, 2]
    height = [float(point.split(",")[1]) for run in runs for point in run]
    assert height[0] == max(height)
    assert height[2] == min(height)


def test_a_long_line_is_thinned_but_keeps_its_end() -> None:
    svg = ElementTree.fromstring(line_chart("c", "t", [float(i) for i in range(10_000)]))
    points = next(svg.iter("polyline")).get("points", "").split()
    assert len(points) < 500
    assert points[-1] == "312.0,10.0"


def test_a_flat_or_empty_line_draws() -> None:
    ElementTree.fromstring(line_chart("c", "t", [2.0, 2.0, 2.0]))
    ElementTree.fromstring(line_chart("c", "t", []))


def test_numbers_beside_an_axis_fit_there() -> None:
    found = [tick(value) for value in (1, 0.123456, 1234, 0.000300721, 123456.0, -0.0123)]
    assert found == ["1", "0.123", "1,234", "3.0e-4", "1.2e5", "-1.2e-2"]
