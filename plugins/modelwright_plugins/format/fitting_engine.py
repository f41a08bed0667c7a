"""Which engine of a folder runs on this machine."""

from __future__ import annotations

from packaging.version import Version

from modelwright.errors import MissingError
from modelwright.planning.gpu import Gpu, gpus
from modelwright_plugins.format.engines import Engine, Engines
from modelwright_plugins.tensorrt.library import TITLES, load

# Engines that are built to run on other GPUs, too, run from Ampere on.
AMPERE = 8.0


def fitting_engine(table: Engines) -> Engine:
    """The engine for the GPU and the library here. Raises MissingError where there is none."""
    # A runtime of TensorRT without a GPU ends the process: look first.
    if not gpus():
        raise MissingError(
            "An engine of TensorRT runs on an NVIDIA GPU, and this machine has none.",
            where="target.device",
            accepted="a machine with an NVIDIA GPU and its driver",
            hint="the folder's model.onnx runs in ONNX Runtime; a recipe with fallback=true in its step "
            "compile.tensorrt lets it",
        )
    engine = engine_for(gpus()[0], table)
    version = load(engine.library).__version__
    if not loads(engine, version):
        raise MissingError(
            f"The engine is of {TITLES[engine.library]} {engine.version}, and {version} is installed.",
            where=engine.file,
            accepted=f"{engine.library.replace('_', '-')}=={engine.version}"
            + (" or a later one of the same major version" if engine.version_compatible else ""),
            hint="install that version, or build the engine again on this machine",
        )
    return engine


def loads(engine: Engine, version: str) -> bool:
    """Whether a version of its library loads it: its own, or a later one of the same major version."""
    if not engine.version_compatible:
        return engine.version == version
    built, here = Version(engine.version), Version(version)
    return built.major == here.major and built <= here


def engine_for(gpu: Gpu, table: Engines) -> Engine:
    """The first engine for a GPU's compute capability. Raises MissingError where there is none."""
    here = gpu.compute_capability
    for engine in table.engines:
        named = engine.compute_capabilities
        if not named or here in named or (engine.hardware_compatible and float(here) >= AMPERE):
            return engine
    made = sorted({version for engine in table.engines for version in engine.compute_capabilities})
    raise MissingError(
        f"The engines are for compute capability {', '.join(made)}, and this GPU has {here}.",
        where="target.compute_capabilities",
        accepted=", ".join(made),
        hint="build one on this machine, or run the folder's model.onnx in ONNX Runtime",
    )
