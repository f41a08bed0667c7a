"""The key of a step: a digest over all that its result depends on."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from pathlib import Path

from modelwright.api.component import Component, installed_version
from modelwright.api.stage import Stage
from modelwright.api.target import Target
from modelwright.digest import digest_file, digest_json
from modelwright.planning.hardware import fingerprint
from modelwright.registry import Distribution

KEY_VERSION = 1


def step_key(
    stage: Stage,
    distribution: Distribution,
    model_digest: str,
    data_digests: Mapping[str, str],
    model_digests: Mapping[str, str],
    target: Target,
    seed: int,
) -> str:
    """SHA-256 in hex. The machine counts for stages whose result depends on it."""
    return digest_json(
        {
            "version": KEY_VERSION,
            "stage": stage.name,
            "parameters": stage.model_dump(mode="json"),
            "distribution": [distribution.name, distribution.version],
            "core": core_versions(),
            "source": source_digest(type(stage)),
            "requires": stage.versions(),
            "model": model_digest,
            "data": dict(data_digests),
            "models": dict(model_digests),
            "target": target.model_dump(mode="json", include=_target_fields(stage)),
            "seed": seed,
            "hardware": fingerprint() if stage.depends_on_machine() else None,
        }
    )


def _target_fields(stage: Stage) -> set[str]:
    """Those that a step's result depends on; never whether it runs here."""
    fields = Target.model_fields if stage.target_fields is None else stage.target_fields
    return {*fields} - {"runs"}


def core_versions() -> dict[str, str]:
    """Versions of modelwright itself and of the libraries it hands to every component."""
    return {
        name: installed_version(name) or "" for name in ("modelwright", "numpy", "safetensors", "tokenizers")
    }


def source_digest(cls: type[Component]) -> str:
    """SHA-256 of the source that a component runs, so that editing a plugin outdates its results.

    That is all of the top-level package it is defined in: a stage calls modules beside its own.
    """
    return _package_digest(cls.__module__.partition(".")[0])


@functools.cache
def _package_digest(name: str) -> str:
    file = Path(sys.modules[name].__file__ or "")
    if file.name != "__init__.py":
        return digest_file(file) if file.is_file() else ""
    sources = sorted(file.parent.rglob("*.py"))
    return digest_json(
        {source.relative_to(file.parent).as_posix(): digest_file(source) for source in sources}
    )
