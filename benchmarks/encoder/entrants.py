"""Who takes part: the baseline, our artifacts, and the peers that could be set up."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks.encoder import environment
from benchmarks.encoder.peers import PEERS
from benchmarks.encoder.texts import Tokens

BASELINE = "PyTorch fp32"
WEIGHT_SUFFIXES = {".onnx", ".data", ".bin", ".xml", ".safetensors"}


class Entrant(NamedTuple):
    """One contender to be: how it is run (`runtime`), by which interpreter, from which file or folder."""

    name: str
    kind: str
    runtime: str
    python: Path
    path: Path
    size_bytes: int


class Missing(NamedTuple):
    """A contender that isn't here, and why."""

    name: str
    reason: str


def gather(arguments: argparse.Namespace, tokens: Tokens, work: Path) -> tuple[list[Entrant], list[Missing]]:
    """The entrants, baseline first, and those that are missing."""
    here = Path(sys.executable)
    model = arguments.model
    entrants = [Entrant(BASELINE, "baseline", "torch", here, model, weight_bytes(model))]
    missing: list[Missing] = []
    for path in arguments.artifact:
        name = "/".join(path.absolute().parts[-2:])
        if (path / "model").is_dir():
            entrants.append(Entrant(name, "ours", "artifact", here, path, weight_bytes(path / "model")))
        else:
            missing.append(Missing(name, f"'{path}' is not an artifact's folder"))
    for name in arguments.peers:
        peer = PEERS[name]
        try:
            python = environment.ensure(peer, arguments.envs / name)
            print(f"making the model of {peer.title} ...", flush=True)
            made = environment.make(peer, python, model, tokens.calibration, work / name)
        except environment.SetupError as error:
            missing.append(Missing(peer.title, str(error)))
        else:
            size = weight_bytes(made.parent)
            entrants.append(Entrant(peer.title, "peer", peer.runtime, python, made, size))
    return entrants, missing


def weight_bytes(folder: Path) -> int:
    """Bytes of the files with weights or graphs in them."""
    return sum(file.stat().st_size for file in folder.iterdir() if file.suffix in WEIGHT_SUFFIXES)
