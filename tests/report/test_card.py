from __future__ import annotations

from typing import Any

import pytest
import yaml
from sample import CANDIDATE, failed, released, spec

from modelwright.report.card import render_card


def header(card: str) -> dict[str, Any]:
    start, front, _ = card.split("---\n", 2)
    assert start == ""
    loaded: dict[str, Any] = yaml.safe_load(front)
    return loaded


def test_the_header_says_what_a_hub_asks() -> None:
    found = header(render_card(released()))
    assert found["library_name"] == "onnx"
    assert found["pipeline_tag"] == "feature-extraction"
    assert found["tags"] == ["modelwright", "onnx", "int8"]
    result = found["model-index"][0]["results"][0]
    assert result["dataset"] == {"name": "docs", "type": "python-docs"}
    assert result["metrics"] == [{"type": "retrieval.mrr", "value": 0.4905, "name": "Retrieval MRR"}]


def test_the_header_survives_a_hostile_name() -> None:
    card = render_card(released(name="x: [\n---\n<script>"))
    assert header(card)["model-index"][0]["name"] == "x: [ --- <script>"
    assert "# x: \\[ --- &lt;script&gt;" in card


def test_the_body_tells_use_figures_gates_provenance_and_limits() -> None:
    card = render_card(released())
    assert [line for line in card.splitlines() if line.startswith("## ")] == [
        "## Use",
        "## Figures",
        "## Gates",
        "## Provenance",
        "## Limitations",
    ]
    assert "Artifact.open('artifacts/minilm-int8/3').runner()" in card
    assert 'runner.embed(["a sentence", "another one"])' in card
    assert "import onnxruntime as ort" in card
    assert "2.42× faster" in card
    assert released().baseline.digest in card
    assert "Noisy, so read with care: Latency p50." in card
    assert "attention runs in float32" in card


def test_a_classifier_is_used_as_one() -> None:
    classifier = spec("onnx").model_copy(
        update={"task": "classify", "labels": ("no", "yes"), "pooling": None, "normalize": False}
    )
    card = render_card(released(candidate=CANDIDATE.model_copy(update={"spec": classifier})))
    assert header(card)["pipeline_tag"] == "text-classification"
    assert "runner.classify(" in card
    assert "['no', 'yes'][row]" in card


def test_an_unknown_format_is_opened_by_modelwright_alone() -> None:
    card = render_card(released(candidate=CANDIDATE.model_copy(update={"spec": spec("other")})))
    assert "library_name" not in header(card)
    assert "Artifact.open" in card
    assert "alone" not in card


def test_without_a_candidate_there_is_nothing_to_describe() -> None:
    with pytest.raises(ValueError, match="has no candidate"):
        render_card(failed())
