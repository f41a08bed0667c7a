"""Whether operators are fused, counted in the graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelwright.api.metric import Interval, Metric, MetricContext, Observation, Value
from modelwright.api.model import Model
from modelwright.api.runner import Runner

# Whole attention in one operator: ONNX opset 23, ONNX Runtime's own, OpenVINO's.
ATTENTION = {
    "Attention", "MultiHeadAttention", "GroupQueryAttention", "QAttention", "PackedAttention",
    "ScaledDotProductAttention",
}  # fmt: skip


class Fusion(Metric, name="fusion", needs_runner=False, figures=("attention", "softmax", "operators")):
    """Fused attention operators, softmax operators left over, and operators in all, in the stored graph.

    Counts of a format without a graph to read (a PyTorch checkpoint) are not measured.
    """

    def observe(self, model: Model, runner: Runner | None, ctx: MetricContext) -> Iterator[Observation]:
        """One round: the count of each operator."""
        yield {"operators": ctx.format.graph_operators(model)}

    def compare(
        self, baseline: Sequence[Observation], candidate: Sequence[Observation], seed: int
    ) -> list[Value]:
        """Counts for the candidate, beside the baseline's where that has a graph."""
        before, after = baseline[0]["operators"], candidate[0]["operators"]
        if not after:
            return []
        return [
            Value(
                name=f"fusion.{figure}",
                better=better,
                candidate=Interval.exactly(count(after)),
                baseline=Interval.exactly(count(before)) if before else None,
            )
            for figure, better, count in (
                ("attention", "higher", attention_count),
                ("softmax", "lower", lambda operators: operators.get("Softmax", 0)),
                ("operators", "lower", lambda operators: sum(operators.values())),
            )
        ]


def attention_count(operators: dict[str, int]) -> int:
    """Fused attention operators among counts by type."""
    return sum(count for name, count in operators.items() if name in ATTENTION)
