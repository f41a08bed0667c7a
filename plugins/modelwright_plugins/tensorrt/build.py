"""Builds an engine out of an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelwright.api.target import TensorRTLibrary
from modelwright.errors import MissingError, ModelwrightError, StageError
from modelwright_plugins.tensorrt.library import capability_of, load, logger_of
from modelwright_plugins.tensorrt.network import count_operators, inputs_of, let_decompose, parse
from modelwright_plugins.tensorrt.profile import require_known, shapes_of
from modelwright_plugins.tensorrt.timing import TimingCache

Profiles = Sequence[Mapping[str, tuple[int, int, int]]]
# What the builder says where attention has no fused kernel, and where memory is short.
NO_KERNEL = "is_decomposable"
NO_ROOM = ("OutOfMemory", "insufficient memory", "within workspace limit")


@dataclass(frozen=True)
class Settings:
    """What the builder is told, but for shapes; `flags` are names of trt.BuilderFlag, sizes are in bytes."""

    flags: tuple[str, ...] = ()
    optimization_level: int | None = None
    workspace: int | None = None
    compute_capabilities: tuple[str, ...] = ()
    hardware_compatibility: str | None = None


class EngineBuilder:
    """One graph, parsed, to be built.

    >>> builder = EngineBuilder("tensorrt_rtx", graph, ctx.where)
    >>> engine = builder.build([{"batch": (1, 8, 32), "length": (1, 128, 512)}], Settings())

    `where` says where the recipe sets a parameter of the stage. Raises StageError where the graph cannot be
    taken, MissingError where the library is not there.
    """

    def __init__(self, library: TensorRTLibrary, graph: Path, where: Callable[[str], str]) -> None:
        self._trt = load(library)
        self._where = where
        self._logger = logger_of(self._trt)
        self._builder = self._trt.Builder(self._logger)
        # The network refers to weights that the parser holds.
        self._network, self._parser = parse(self._trt, self._builder, graph, self._logger)
        self.version: str = self._trt.__version__
        self.operators = count_operators(self._network)

    def let_decompose(self) -> None:
        """Let attention that no fused kernel serves be computed in parts."""
        let_decompose(self._trt, self._network)

    def build(self, profiles: Profiles, settings: Settings, times: TimingCache | None = None) -> bytes:
        """The serialized engine; `times` are what builds before it measured.

        Raises RecipeError for profiles that the network does not take, MissingError where the workspace is
        too small, StageError where nothing can be built.
        """
        trt = self._trt
        config = self._builder.create_builder_config()
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        for number, profile in enumerate(profiles):
            config.add_optimization_profile(self._profile(profile, f"{self._where('profiles')}[{number}]"))
        for flag in settings.flags:
            config.set_flag(getattr(trt.BuilderFlag, flag))
        if settings.optimization_level is not None:
            config.builder_optimization_level = settings.optimization_level
        if settings.workspace is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace)
        if settings.hardware_compatibility is not None:
            level = getattr(trt.HardwareCompatibilityLevel, settings.hardware_compatibility)
            config.hardware_compatibility_level = level
        if settings.compute_capabilities:
            config.num_compute_capabilities = len(settings.compute_capabilities)
            for number, version in enumerate(settings.compute_capabilities):
                config.set_compute_capability(capability_of(trt, version), number)
        if times is not None:
            times.attach(config)
        self._logger.errors.clear()
        serialized = self._builder.build_serialized_network(self._network, config)
        if serialized is None:
            raise self._refusal()
        if times is not None:
            times.keep(config)
        return bytes(serialized)

    def _profile(self, profile: Mapping[str, Sequence[int]], where: str) -> Any:
        inputs = inputs_of(self._network)
        known = {size for item in inputs for size in item.dimensions if isinstance(size, str)}
        require_known(profile, sorted(known), where)
        made = self._builder.create_optimization_profile()
        for item in inputs:
            if any(isinstance(size, str) for size in item.dimensions):
                made.set_shape(item.name, *shapes_of(profile, item.name, item.dimensions, where))
        return made

    def _refusal(self) -> ModelwrightError:
        """Why nothing was built, out of what the builder said."""
        said, errors = self._logger.said(), self._logger.errors
        last = errors[-1] if errors else said
        if NO_KERNEL in said:
            return StageError(
                "TensorRT has no fused kernel for an attention of the graph.",
                where=self._where("decomposable"),
                accepted="float16 or bfloat16, with heads and masks that its kernels are made for",
                hint="put a step cast.dtype with fp16 or bf16 before the export, or compute attention in "
                "parts: decomposable=true",
            )
        if any(words in said for words in NO_ROOM):
            return MissingError(
                f"TensorRT finds no room to build the engine: {last}",
                where=self._where("workspace"),
                hint="a larger workspace, or null for all that there is",
            )
        return StageError(f"TensorRT built no engine: {last}", where=self._where("use"))
