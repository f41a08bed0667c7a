"""The peers' models, each made by its own tool with that tool's defaults for four bits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.turns.worker_process import QUIET


class PeerError(Exception):
    """A peer's model could not be made; the message is the reason shown in the table."""


class Peer(NamedTuple):
    """A tool that runs language models: how its model is made, and by which loader of `worker.py` it runs."""

    title: str
    loader: str
    make: Callable[[Path, Path], Path]


def same(model: Path, out: Path) -> Path:
    """PyTorch runs the checkpoint itself."""
    return model


def make_genai(model: Path, out: Path) -> Path:
    """ONNX Runtime GenAI's model builder, int4 for the CPU."""
    builder = ["-m", "onnxruntime_genai.models.builder"]
    _call([*builder, "-m", str(model), "-o", str(out), "-p", "int4", "-e", "cpu", "-c", str(out / "cache")])
    return out


def make_openvino(model: Path, out: Path) -> Path:
    """transformers' exporter and NNCF's int4 weights."""
    _call([str(Path(__file__).with_name("make_openvino.py")), str(model), str(out)])
    return out / "openvino_model.xml"


def make_llama_cpp(model: Path, out: Path) -> Path:
    """llama.cpp's own quantizer on a 16-bit file of modelwright's: its converter is no package."""
    _call(["-m", "benchmarks.decode.make_llama_cpp", str(model), str(out)])
    return out / "q4_0.gguf"


PEERS = {
    "torch": Peer("PyTorch fp32, eager", "torch", same),
    "torch-compile": Peer("PyTorch fp32, compiled", "torch-compile", same),
    "genai": Peer("ONNX Runtime GenAI int4", "genai", make_genai),
    "llama.cpp": Peer("llama.cpp Q4_0", "llama.cpp", make_llama_cpp),
    "openvino": Peer("OpenVINO int4 by NNCF", "openvino", make_openvino),
}


def make(peer: Peer, model: Path, out: Path) -> Path:
    """The peer's model; what was made before is used again."""
    stamp = out / ".made"
    if stamp.is_file():
        return Path(stamp.read_text(encoding="utf-8"))
    out.mkdir(parents=True, exist_ok=True)
    made = peer.make(model, out)
    if not made.exists():
        raise PeerError(f"it ended well and left no {made.name}")
    stamp.write_text(str(made), encoding="utf-8")
    return made


def _call(arguments: list[str]) -> None:
    command = [sys.executable, *arguments]
    environment = {**os.environ, **QUIET}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise PeerError(lines[-1] if lines else f"exit code {done.returncode}")
