"""Observations as files: JSON for plain data, NPZ for arrays. No pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from modelwright.api.metric import Observation


def write_observation(folder: Path, name: str, observation: Observation) -> None:
    """Write one observation as `name.json`, and `name.npz` when it holds arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {key: value for key, value in observation.items() if isinstance(value, np.ndarray)}
    plain = {key: value for key, value in observation.items() if key not in arrays}
    if arrays:
        np.savez(folder / f"{name}.npz", allow_pickle=False, **arrays)
    (folder / f"{name}.json").write_text(json.dumps(plain), encoding="utf-8")


def read_observation(folder: Path, name: str) -> Observation:
    """What `write_observation` wrote."""
    plain: dict[str, Any] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    if (folder / f"{name}.npz").is_file():
        with np.load(folder / f"{name}.npz", allow_pickle=False) as arrays:
            plain.update({key: arrays[key] for key in arrays.files})
    return plain
