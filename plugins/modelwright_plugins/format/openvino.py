"""OpenVINO graphs, run by OpenVINO on the CPU."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from modelwright.api.format import Format
from modelwright.api.model import Model, ModelSize
from modelwright.api.runner import Runner
from modelwright.api.target import Target
from modelwright.errors import RecipeError
from modelwright_plugins.format.openvino_ir import WEIGHTS_FILE, not_finite, read_graph

NOT_OPERATORS = ("Constant", "Parameter", "Result")


class OpenVINO(Format, name="openvino", requires=("openvino>=2026.4,<2026.5",)):
    """A folder with `openvino_model.xml`, `openvino_model.bin` and the tokenizer."""

    fused = frozenset({"ScaledDotProductAttention", "MVN", "RMS"})

    def check(self, path: Path, *, deep: bool = False) -> None:
        """The graph parses and the weights file is long enough; `deep` also looks for NaN and infinity."""
        graph = read_graph(path)
        file = path / WEIGHTS_FILE
        found = file.stat().st_size if file.is_file() else 0
        if found < graph.end:
            raise RecipeError(
                f"The weights are cut short or missing: {found:,} bytes of {graph.end:,}.",
                where=str(file),
                hint="export the model again, or copy the folder again",
            )
        for constant, count in not_finite(path, graph) if deep else ():
            raise RecipeError(
                f"The weights hold {count:,} values that are NaN or infinite, first in '{constant.name}'.",
                where=str(file),
                hint="use a checkpoint whose weights are finite in the stored type (float16 ends at 65504)",
            )

    def size(self, path: Path) -> ModelSize:
        """Weights counted in the XML, their data unread."""
        weights = read_graph(path).weights
        return ModelSize(
            parameters=sum(constant.elements for constant in weights),
            weight_bytes=sum(constant.size for constant in weights),
        )

    def graph_operators(self, model: Model) -> dict[str, int]:
        """Layers of the graph as stored, by type."""
        counts = Counter(read_graph(model.path).layer_types)
        return {kind: count for kind, count in sorted(counts.items()) if kind not in NOT_OPERATORS}

    def runner(self, model: Model, target: Target) -> Runner:
        """OpenVINO's CPU plugin; needs no torch. Raises MissingError for another device."""
        if model.spec.task == "generate":
            from modelwright_plugins.format.openvino_causal_runner import OpenVINOCausalRunner

            return OpenVINOCausalRunner(model, target)
        from modelwright_plugins.format.openvino_runner import OpenVINORunner

        return OpenVINORunner(model, target)
