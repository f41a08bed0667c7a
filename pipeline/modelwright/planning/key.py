"""The key of a step: a digest over all that its result depends on."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path

from modelwright.api.component import Component
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
    target: Target,
    seed: int,
) -> str:
    """SHA-256 in hex. A stage that decides by measuring depends on this machine, others do not."""
    return digest_json(
        {
            "version": KEY_VERSION,
            "stage": stage.name,
            "parameters": stage.model_dump(mode="json"),
            "distribution": [distribution.name, distribution.version],
            "source": source_digest(type(stage)),
            "requires": stage.versions(),
            "model": model_digest,
            "data": dict(data_digests),
            "target": target.model_dump(mode="json"),
            "seed": seed,
            "hardware": fingerprint() if stage.decides_by_measuring() else None,
        }
    )


def source_digest(cls: type[Component]) -> str:
    """SHA-256 of the module that defines a component, so that editing a plugin outdates its results."""
    file = inspect.getsourcefile(cls)
    return digest_file(Path(file)) if file else ""
