"""A model as steps see it: a sealed folder, what is in it, and how its outputs are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from modelwright.api.anatomy import Anatomy
from modelwright.digest import digest_folder
from modelwright.errors import RecipeError

SPEC_FILE = "modelwright.json"

Task = Literal["embed", "classify", "generate"]
TASKS: tuple[Task, ...] = ("embed", "classify", "generate")
Pooling = Literal["mean", "cls", "max"]


class GenerationSpec(BaseModel):
    """What generating text with a model needs to know: its vocabulary, its ends, its KV cache.

    `vocabulary` is the width of the logits. `end` are the tokens that end a text. `cache_elements` are the
    numbers kept per token over all layers: 2 x layers x key-value heads x head width where keys and values
    are cached as they are. Of these, `windowed_elements` are kept for the last `window` tokens only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocabulary: int
    end: tuple[int, ...] = ()
    cache_elements: int | None = None
    windowed_elements: int = 0
    window: int | None = None


class ModelSpec(BaseModel):
    """What a model folder holds. Written into it as `modelwright.json`, so that the folder describes itself.

    `max_length` is in tokens (the context, for a model that generates). `pooling` turns token vectors into
    one vector per text (embedding models only); `generation` is there for models that generate. `tags` are
    capabilities that later stages may ask for or refuse, such as `int8`. `details` belong to the format, for
    its own runner.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str
    task: Task
    architecture: str
    dtype: str = "float32"
    max_length: int = 512
    pooling: Pooling | None = None
    normalize: bool = False
    labels: tuple[str, ...] = ()
    generation: GenerationSpec | None = None
    tags: tuple[str, ...] = ()
    trust_remote_code: bool = False
    details: dict[str, JsonValue] = {}

    def write(self, folder: Path) -> None:
        """Write `modelwright.json`."""
        (folder / SPEC_FILE).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")


class ModelSize(BaseModel):
    """A model's parameters and the bytes of its weights, read without loading them.

    `anatomy` is what the recipe's input is built of, where its format knows; steps pass it on.
    """

    model_config = ConfigDict(frozen=True)

    parameters: int
    weight_bytes: int
    anatomy: Anatomy | None = None


@dataclass(frozen=True)
class Model:
    """A handle on a sealed, read-only model folder.

    >>> model = Model.open(Path("artifacts/minilm-int8/1/model"))
    >>> model.spec.format
    'onnx'

    `digest` is the SHA-256 over the folder's file names and contents.
    """

    path: Path
    spec: ModelSpec
    digest: str

    @classmethod
    def open(cls, path: Path, digest: str | None = None) -> Model:
        """Open a folder that holds a `modelwright.json`; raises RecipeError where there is none."""
        file = path / SPEC_FILE
        if not file.is_file():
            raise RecipeError(
                f"'{path}' is not a model folder of modelwright.",
                where=str(file),
                accepted=f"a folder with a {SPEC_FILE} in it",
                hint="give the model/ folder of an artifact",
            )
        try:
            spec = ModelSpec.model_validate_json(file.read_bytes())
        except ValidationError as error:
            raise RecipeError(f"{SPEC_FILE} is damaged or of another version.", where=str(file)) from error
        return cls(path, spec, digest or digest_folder(path))

    def to_dict(self) -> dict[str, JsonValue]:
        """Plain data that `from_dict` turns back into this handle in another process."""
        return {"path": str(self.path), "spec": self.spec.model_dump(mode="json"), "digest": self.digest}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Model:
        """The handle that `to_dict` described."""
        return cls(Path(data["path"]), ModelSpec.model_validate(data["spec"]), data["digest"])
