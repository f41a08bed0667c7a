"""Folders of ONNX Runtime GenAI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelwright.api.format import Format
from modelwright.api.model import Model, ModelSize
from modelwright.api.runner import Runner
from modelwright.api.target import Target
from modelwright.errors import RecipeError
from modelwright_plugins.format.json_file import read_json
from modelwright_plugins.format.onnx import GRAPH_FILE, Onnx

CONFIG_FILE = "genai_config.json"


class GenAI(Format, name="genai", requires=("onnxruntime-genai>=0.18,<0.19",)):
    """A folder with `genai_config.json`, `model.onnx` with its weights beside it, and the tokenizer.

    Opens in ONNX Runtime GenAI as it is: `onnxruntime_genai.Model(folder)`.
    """

    fused = Onnx.fused | {"GatherBlockQuantized", "SparseAttention", "QMoE"}

    def check(self, path: Path, *, deep: bool = False) -> None:
        """The configuration names the graph that is there, which parses and whose weights are all there."""
        named = decoder_config(path).get("filename")
        if named != GRAPH_FILE:
            raise RecipeError(
                f"The configuration's model.decoder.filename is {named!r}.",
                where=str(path / CONFIG_FILE),
                accepted=GRAPH_FILE,
            )
        Onnx().check(path, deep=deep)

    def size(self, path: Path) -> ModelSize:
        """Initializers counted in the graph, their data unread."""
        return Onnx().size(path)

    def graph_operators(self, model: Model) -> dict[str, int]:
        """Operators of the graph as stored, by type."""
        return Onnx().graph_operators(model)

    def check_target(self, target: Target) -> None:
        """GenAI has the provider."""
        from modelwright_plugins.format.genai_runner import require_provider

        require_provider(target)

    def runner(self, model: Model, target: Target) -> Runner:
        """ONNX Runtime GenAI on the target's execution provider; needs no torch."""
        from modelwright_plugins.format.genai_runner import GenAIRunner

        return GenAIRunner(model, target)


def decoder_config(path: Path) -> dict[str, Any]:
    """What `genai_config.json` says of the decoder. Raises RecipeError where it says nothing."""
    file = path / CONFIG_FILE
    if not file.is_file():
        raise RecipeError(
            "The folder has no configuration of ONNX Runtime GenAI.", where=str(path), accepted=CONFIG_FILE
        )
    model = read_json(file).get("model")
    decoder = model.get("decoder") if isinstance(model, dict) else None
    if not isinstance(decoder, dict):
        raise RecipeError(
            "The configuration describes no decoder.", where=str(file), accepted="model.decoder, an object"
        )
    return decoder
