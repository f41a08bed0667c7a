"""Which quantized operators cost most, and leaving them in float until a target holds.

NNCF's own accuracy control is not used: it puts the original weights back behind activations that
SmoothQuant has scaled, which makes each exclusion worse than none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from modelwright.api.context import StageContext
from modelwright.api.model import Model
from modelwright.api.runner import Floats, Inputs
from modelwright.api.target import Target
from modelwright.errors import StageError
from modelwright_plugins.metric.parity import cosine_rows
from modelwright_plugins.text.pooling import pool

if TYPE_CHECKING:
    import openvino

# They move data and are looked through for the operator that computes with it.
MOVES_DATA = ("Reshape", "Transpose", "Unsqueeze", "Squeeze", "Convert")


class Group(NamedTuple):
    """Operators that can only be put back to float together, and their quantizers, by name."""

    operators: tuple[str, ...]
    quantizers: tuple[str, ...]


class Judge:
    """Mean cosine similarity of a graph's outputs with the float graph's, over fixed batches.

    >>> Judge(model, graph, batches, target).similarity(quantized)
    0.9975

    The float graph runs in float32, a candidate as it would when deployed.
    """

    def __init__(
        self, model: Model, graph: openvino.Model, batches: Sequence[Inputs], target: Target
    ) -> None:
        self._spec = model.spec
        self._batches = batches
        self._options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": target.thread_count,
        }
        self._reference = self._outputs(graph, {"INFERENCE_PRECISION_HINT": "f32"})
        precision = model.spec.details.get("inference_precision")
        self._deployed = {"INFERENCE_PRECISION_HINT": str(precision)} if precision else {}

    def similarity(self, graph: openvino.Model) -> float:
        """1 where the outputs point the same way."""
        found = self._outputs(graph, self._deployed)
        return float(cosine_rows(self._reference, found).mean())

    def _outputs(self, graph: openvino.Model, options: dict[str, Any]) -> Floats:
        import openvino

        request = openvino.Core().compile_model(graph, "CPU", self._options | options).create_infer_request()
        rows = []
        for inputs in self._batches:
            output = np.array(request.infer(dict(inputs), share_inputs=True)[0], dtype=np.float32)
            if self._spec.task == "embed":
                output = pool(output, inputs["attention_mask"], self._spec.pooling, self._spec.normalize)
            rows.append(output)
        return np.concatenate(rows)


def restore(
    quantized: openvino.Model, judge: Judge, max_drop: float, ctx: StageContext
) -> tuple[openvino.Model, dict[str, object]]:
    """Put groups back to float, the costliest first, until no more than `max_drop` similarity is lost.

    A group that does not help beside those already left waits, and is tried again once others have. Returns
    the graph and what was decided; raises StageError when the groups that help are not enough.
    """
    similarity = judge.similarity(quantized)
    outcome: dict[str, object] = {"similarity_quantized": similarity, "left_float": []}
    left: list[Group] = []
    waiting = rank(quantized, judge, similarity, ctx) if 1 - similarity > max_drop else []
    while 1 - similarity > max_drop:
        before = len(left)
        for group in list(waiting):
            found = judge.similarity(without(quantized, [*left, group]))
            if found > similarity:
                left.append(group)
                waiting.remove(group)
                similarity = found
                ctx.log.info("left %s in float: similarity %.5f", ", ".join(group.operators), found)
            if 1 - similarity <= max_drop:
                break
        if len(left) == before:
            raise StageError(
                f"With every operator that helps back in float, {1 - similarity:.5f} is still lost.",
                where=ctx.where("max_drop"),
                accepted=f"a max_drop above {1 - similarity:.5f} (mean cosine similarity)",
                hint="set export.openvino's inference_precision to f32, or raise max_drop",
            )
    outcome["left_float"] = [name for group in left for name in group.operators]
    outcome["similarity"] = similarity
    return without(quantized, left), outcome


def rank(quantized: openvino.Model, judge: Judge, similarity: float, ctx: StageContext) -> list[Group]:
    """Groups by the similarity that leaving each alone in float wins back, the largest gain first."""
    found = groups(quantized)
    gains = []
    for done, group in enumerate(found):
        ctx.progress(done, len(found), "sensitivity")
        gains.append(judge.similarity(without(quantized, [group])) - similarity)
    order = sorted(range(len(found)), key=lambda i: (-gains[i], found[i].operators))
    ctx.record("sensitivity", [{"operators": list(found[i].operators), "gain": gains[i]} for i in order])
    return [found[i] for i in order]


def groups(quantized: openvino.Model) -> list[Group]:
    """Quantizers joined where they feed the same operator, in the order of the graph."""
    joined: list[tuple[set[str], list[str]]] = []
    for node in quantized.get_ordered_ops():
        if node.get_type_name() != "FakeQuantize":
            continue
        operators, quantizers = set(_consumers(node)), [node.get_friendly_name()]
        apart = []
        for others in joined:
            if others[0] & operators:
                operators |= others[0]
                quantizers = others[1] + quantizers
            else:
                apart.append(others)
        joined = [*apart, (operators, quantizers)]
    return [Group(tuple(sorted(operators)), tuple(quantizers)) for operators, quantizers in joined]


def without(quantized: openvino.Model, left: Iterable[Group]) -> openvino.Model:
    """A copy whose named quantizers are bypassed."""
    names = {name for group in left for name in group.quantizers}
    copy = quantized.clone()
    for node in copy.get_ordered_ops():
        if node.get_friendly_name() in names:
            node.output(0).replace(node.input_value(0))
    return copy


def _consumers(node: openvino.Node) -> list[str]:
    names = []
    for port in node.output(0).get_target_inputs():
        consumer = port.get_node()
        if consumer.get_type_name() in MOVES_DATA:
            names += _consumers(consumer)
        else:
            names.append(consumer.get_friendly_name())
    return names
