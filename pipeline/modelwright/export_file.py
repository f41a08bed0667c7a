"""The Python API for the end of a training script: a model in memory, or a checkpoint, as one file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pydantic import ValidationError

from modelwright.api.format import Format
from modelwright.api.model import Model
from modelwright.api.stage import Stage
from modelwright.api.target import Target
from modelwright.engine.step import HANDLER
from modelwright.errors import RecipeError, did_you_mean
from modelwright.planning.source import checked_spec
from modelwright.process.worker import Worker
from modelwright.recipe.origin import Origin
from modelwright.recipe.refusal import refusal
from modelwright.registry import Registry
from modelwright.store.atomic import disk_errors

CALL = "modelwright.export"
STEP = "export"


@runtime_checkable
class Savable(Protocol):
    """A model or a tokenizer that writes itself into a folder, as those of transformers do."""

    def save_pretrained(self, save_directory: str) -> object:
        """Write files that `from_pretrained` reads."""
        ...


def export(
    model: Savable | str | Path,
    path: str | Path,
    *,
    tokenizer: Savable | None = None,
    stage: str | None = None,
    **parameters: Any,
) -> Path:
    """Write a model as the one file that another runtime loads; returns its path.

    >>> modelwright.export(model, "model.bin", version=0)
    PosixPath('model.bin')

    `model` is a transformers model in memory, or the folder of a checkpoint. The stage is the one whose
    format's file ends as `path` does, or the one that `stage` names; `parameters` are its own. It runs as in
    a recipe, in a process of its own, and its result is checked; nothing is measured. The file then replaces
    what was at `path` in one step. What else the format's runtime loads (a tokenizer) lands beside it, where
    the folder or `tokenizer` has what it takes.

    Raises RecipeError for a path, model or parameter that cannot be, MissingError for a package that is not
    installed, StageError when writing fails.
    """
    registry, place = Registry.load(), Path(path)
    chosen = _choose(registry, place, stage)
    registry.stages.require(chosen.name, CALL)
    try:
        step = chosen.model_validate(parameters)
    except ValidationError as error:
        raise refusal(error, STEP, chosen, Origin((), {})) from error
    _check_model(model)
    with disk_errors(place, "write the model"):
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent) as folder:
            result = _run(registry, step, _checkpoint(model, tokenizer, Path(folder)), Path(folder))
            first, *others = registry.formats[step.gives].files
            for name in others:
                if (result / name).is_file():
                    _move(result / name, place.parent / name)
            _move(result / first, place)
    return place


def _choose(registry: Registry, path: Path, named: str | None) -> type[Stage]:
    """The stage that is named, or the one whose format's file ends as the path does."""
    usable = {
        name: _suffix(registry.formats[found.gives])
        for name in registry.stages
        if (found := registry.stages[name]).gives in registry.formats and found.gives != found.takes
    }
    usable = {name: suffix for name, suffix in usable.items() if suffix}
    accepted = ", ".join(f"{suffix} ({name})" for name, suffix in usable.items()) or "none is installed"
    if path.is_dir():
        raise RecipeError(f"'{path}' is a folder.", where=f"{CALL}, path", accepted="the path of a file")
    if named is not None:
        found = registry.stages.find(named, f"{CALL}, stage")
        if named not in usable:
            raise RecipeError(
                f"The stage '{named}' does not write one file.",
                where=f"{CALL}, stage",
                accepted=accepted,
                hint="run it in a recipe, which gives a folder",
            )
        return found
    fitting = [name for name, suffix in usable.items() if suffix == path.suffix]
    if len(fitting) != 1:
        raise RecipeError(
            f"{'Several stages write' if fitting else 'No stage writes'} a '{path.suffix}' file.",
            where=f"{CALL}, path '{path}'",
            accepted=accepted,
            hint='name the stage: stage="…"' if fitting else did_you_mean(path.suffix, usable.values()),
        )
    return registry.stages[fitting[0]]


def _suffix(format_: type[Format]) -> str:
    return Path(format_.files[0]).suffix if format_.files else ""


def _check_model(model: Savable | str | Path) -> None:
    if isinstance(model, str | Path):
        if not Path(model).is_dir():
            raise RecipeError(
                f"There is no checkpoint at '{model}'.",
                where=f"{CALL}, model",
                accepted="a model in memory, or the folder of a checkpoint",
            )
    elif not isinstance(model, Savable):
        raise RecipeError(
            f"A {type(model).__name__} does not save itself as a checkpoint.",
            where=f"{CALL}, model",
            accepted="a transformers model (with save_pretrained), or the folder of a checkpoint",
        )


def _checkpoint(model: Savable | str | Path, tokenizer: Savable | None, scratch: Path) -> Path:
    """The checkpoint's folder; the model in memory is saved into one."""
    if isinstance(model, str | Path):
        if tokenizer is not None:
            raise RecipeError(
                "A checkpoint's folder brings its own tokenizer.",
                where=f"{CALL}, tokenizer",
                hint="save the tokenizer into the folder, or give the model itself",
            )
        return Path(model).absolute()
    folder = scratch / "checkpoint"
    model.save_pretrained(str(folder))
    if tokenizer is not None:
        tokenizer.save_pretrained(str(folder))
    return folder


def _run(registry: Registry, step: Stage, checkpoint: Path, scratch: Path) -> Path:
    """Check the checkpoint as a plan does and run the stage in a worker; the folder of the result."""
    format_ = registry.formats[step.takes]()
    spec = checked_spec(format_, checkpoint)
    if spec.format != step.takes or spec.task not in step.tasks:
        raise RecipeError(
            f"The stage '{step.name}' takes {step.takes} models of task {', '.join(step.tasks)}; this one is "
            f"{spec.format}, of task {spec.task}.",
            where=f"{CALL}, model",
        )
    step.check(spec)
    out, kept = scratch / "result", scratch / "kept"
    out.mkdir()
    kept.mkdir()
    target = Target().resolved()
    payload = {
        "name": STEP,
        "stage": step.reference(),
        **Model(checkpoint, spec, "unread").to_dict(),
        "out": str(out),
        "checkpoint_dir": str(kept),
        "cache_dir": str(kept),
        "logs": str(scratch / "logs"),
        "target": target.model_dump(mode="json"),
        "seed": 0,
        "datasets": {},
        "models": {},
    }
    log = scratch / "logs" / "export.txt"
    what = f"{CALL} ({step.name})"
    with Worker(HANDLER, payload, log=log, threads=target.thread_count, what=what) as worker:
        worker.result()
    return out


def _move(file: Path, place: Path) -> None:
    """Flush a file to disk and let it replace what is at a place."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
    file.replace(place)
