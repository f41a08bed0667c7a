"""The peers' models, each made by its own tool with that tool's defaults for four bits."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from benchmarks.turns.worker_process import QUIET


class PeerError(Exception):
    """A peer's model could not be made; the message is the reason shown in the table."""


class Peer(NamedTuple):
    """A tool that runs language models: the loader of `worker.py` it runs by, and what makes its model."""

    title: str
    loader: str
    make: Callable[[Path, Path], Path]
    packages: tuple[str, ...]


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
    "torch": Peer("PyTorch fp32, eager", "torch", same, ("torch", "transformers")),
    "torch-compile": Peer("PyTorch fp32, compiled", "torch-compile", same, ("torch", "transformers")),
    "genai": Peer("ONNX Runtime GenAI int4", "genai", make_genai, ("onnxruntime-genai",)),
    "llama.cpp": Peer("llama.cpp Q4_0", "llama.cpp", make_llama_cpp, ("gguf", "llama-cpp-python")),
    "openvino": Peer("OpenVINO int4 by NNCF", "openvino", make_openvino, ("openvino", "nncf")),
}


def make(peer: Peer, model: Path, out: Path) -> Path:
    """The peer's model; what the same packages made before is used again."""
    stamp, wanted = out / "made.json", {name: metadata.version(name) for name in peer.packages}
    if stamp.is_file():
        before = json.loads(stamp.read_text(encoding="utf-8"))
        if before["packages"] == wanted:
            return Path(before["path"])
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    made = peer.make(model, out)
    if not made.exists():
        raise PeerError(f"it ended well and left no {made.name}")
    stamp.write_text(json.dumps({"packages": wanted, "path": str(made)}), encoding="utf-8")
    return made


def _call(arguments: list[str]) -> None:
    command = [sys.executable, *arguments]
    environment = {**os.environ, **QUIET}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise PeerError(lines[-1] if lines else f"exit code {done.returncode}")
