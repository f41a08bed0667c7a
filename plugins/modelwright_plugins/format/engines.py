"""The TensorRT engines of a folder, and what each runs on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from packaging.version import Version
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from modelwright.api.target import TensorRTLibrary
from modelwright.digest import digest_file
from modelwright.errors import RecipeError
from modelwright_plugins.tensorrt.profile import Profile

TABLE_FILE = "engines.json"


def _version(text: str) -> str:
    Version(text)  # raises ValueError
    return text


class Engine(BaseModel):
    """One engine: the library and version that built it, and the GPUs it is for.

    `driver` and `cuda` are the versions where it was built, None without a GPU. Without
    `compute_capabilities` it is for all that the library serves (TensorRT for RTX). `profiles` are [min, opt,
    max] of each dynamic dimension. `operators` are those of the network it was built from; where it is not
    `decomposable`, each `Attention` of them is a fused kernel. An engine that is `hardware_compatible` runs
    on GPUs from Ampere on, one that is `version_compatible` in later minor versions, others in
    their own alone. An engine without its weights takes them from the graph, whose files have the SHA-256 of
    `weights_from`; those of a `streamed` one may stay on the host.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    library: TensorRTLibrary
    version: Annotated[str, AfterValidator(_version)]
    compute_capabilities: tuple[str, ...] = ()
    driver: str | None = None
    cuda: str | None = None
    profiles: tuple[Profile, ...] = ()
    operators: dict[str, NonNegativeInt] = {}
    decomposable: bool = False
    hardware_compatible: bool = False
    version_compatible: bool = False
    weights_from: dict[str, str] = {}
    streamed: bool = False
    file: str = Field("model.engine", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    size: NonNegativeInt = 0
    sha256: str = ""


class Engines(BaseModel):
    """The table beside the engines: `engines.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engines: tuple[Engine, ...] = Field(min_length=1)

    @staticmethod
    def write(folder: Path, engine: Engine, content: bytes) -> None:
        """Write one engine and its table."""
        file = folder / engine.file
        file.write_bytes(content)
        entry = engine.model_copy(update={"size": len(content), "sha256": digest_file(file)})
        table = Engines(engines=(entry,))
        (folder / TABLE_FILE).write_text(table.model_dump_json(indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Engines:
        """The table of a folder. Raises RecipeError where there is none that reads."""
        file = folder / TABLE_FILE
        try:
            return cls.model_validate_json(file.read_bytes())
        except OSError as error:
            raise RecipeError(
                "The folder says nothing of its engines.", where=str(file), accepted=f"a {TABLE_FILE}"
            ) from error
        except ValidationError as error:
            raise RecipeError(
                "The table of engines is damaged, or of another version.", where=str(file)
            ) from error
