"""An engine on this machine's GPU, its tensors in PyTorch's memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.digest import digest_file
from modelwright.errors import RecipeError, StageError
from modelwright.planning.devices import parse_size
from modelwright.planning.gpu import gpus
from modelwright_plugins.format.engines import Engines
from modelwright_plugins.format.fitting_engine import fitting_engine
from modelwright_plugins.format.onnx import GRAPH_FILE
from modelwright_plugins.tensorrt.library import TITLES, load, logger_of
from modelwright_plugins.tensorrt.weights import put_back, stream

if TYPE_CHECKING:
    import torch

# What a tensor without elements is bound to: an address is asked for nevertheless.
LEAST_BYTES = 256


class LoadedEngine:
    """The engine of a folder that fits this machine, with an execution context for each profile.

    >>> LoadedEngine(model, target).run({"input_ids": ids, "attention_mask": mask})["logits"]

    Weights that it was built without come from the folder's graph. Those that may be streamed stay on the
    host where the target's `memory_limit`, or else the GPU, has no room for them.
    An engine for later versions holds code that runs when it is loaded: trust where it is from.
    Raises MissingError where none fits, RecipeError for one that the library does not load.
    """

    def __init__(self, model: Model, target: Target) -> None:
        self._entry = fitting_engine(Engines.read(model.path))
        import torch

        self._torch = torch
        self._device = torch.device("cuda")
        self._trt = trt = load(self._entry.library)
        self._logger = logger_of(trt)
        self._runtime = trt.Runtime(self._logger)
        # An engine for other versions brings the code that runs it.
        self._runtime.engine_host_code_allowed = self._entry.version_compatible
        file = model.path / self._entry.file
        self._logger.errors.clear()
        self._engine = self._runtime.deserialize_cuda_engine(file.read_bytes())
        if self._engine is None:
            raise RecipeError(
                f"{TITLES[self._entry.library]} does not load the engine: {self._logger.said()}",
                where=str(file),
                accepted=f"an engine of version {trt.__version__} for this GPU, as it was written",
                hint="build it again on this machine",
            )
        self._streamed = self._stream_weights(target) if self._entry.streamed else None
        if self._entry.weights_from:
            self._put_weights_back(model.path)
        self._stream = torch.cuda.Stream()
        self._profiles = range(self._engine.num_optimization_profiles)
        self._contexts = [self._context(number) for number in self._profiles]
        names = [self._engine.get_tensor_name(number) for number in range(self._engine.num_io_tensors)]
        is_input = {name: self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT for name in names}
        self.inputs = tuple(name for name in names if is_input[name])
        self.outputs = tuple(name for name in names if not is_input[name])

    @property
    def profiles(self) -> tuple[Mapping[str, tuple[int, int, int]], ...]:
        """[min, opt, max] of each dynamic dimension."""
        return self._entry.profiles

    def run(self, inputs: Mapping[str, np.ndarray | torch.Tensor]) -> dict[str, torch.Tensor]:
        """Outputs on the GPU, by the first profile that takes these shapes.

        Arrays are copied to the GPU, tensors there are read in place. Raises RecipeError where no profile
        takes the shapes, StageError where TensorRT fails.
        """
        torch = self._torch
        context = self._contexts[self._profile_for({name: inputs[name].shape for name in self.inputs})]
        held = [torch.empty(LEAST_BYTES, dtype=torch.uint8, device=self._device)]
        nothing = held[0].data_ptr()
        self._logger.errors.clear()
        with torch.cuda.stream(self._stream):
            for name in self.inputs:
                given = inputs[name]
                tensor = torch.from_numpy(given) if isinstance(given, np.ndarray) else given
                tensor = tensor.to(self._device, self.dtype_of(name)).contiguous()
                self._require(context.set_input_shape(name, tuple(tensor.shape)))
                self._require(context.set_tensor_address(name, tensor.data_ptr() or nothing))
                held.append(tensor)
            found = {}
            for name in self.outputs:
                shape = tuple(context.get_tensor_shape(name))
                found[name] = torch.empty(shape, dtype=self.dtype_of(name), device=self._device)
                self._require(context.set_tensor_address(name, found[name].data_ptr() or nothing))
            self._require(context.execute_async_v3(self._stream.cuda_stream))
        self._stream.synchronize()
        return found

    def dtype_of(self, name: str) -> torch.dtype:
        """The type of an input or output."""
        trt, torch = self._trt, self._torch
        types = {
            trt.DataType.FLOAT: torch.float32,
            trt.DataType.HALF: torch.float16,
            trt.DataType.BF16: torch.bfloat16,
            trt.DataType.INT32: torch.int32,
            trt.DataType.INT64: torch.int64,
            trt.DataType.BOOL: torch.bool,
        }
        return types[self._engine.get_tensor_dtype(name)]

    def shape_of(self, name: str) -> tuple[int, ...]:
        """The shape of an input or output; -1 where it is dynamic."""
        return tuple(self._engine.get_tensor_shape(name))

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """A tensor on the GPU."""
        return self._torch.empty(shape, dtype=dtype, device=self._device)

    def describe(self) -> dict[str, str]:
        """Library, version, engine and GPU."""
        return {
            "runtime": f"{TITLES[self._entry.library]} {self._trt.__version__}",
            "engine": self._entry.file,
            "gpu": str(gpus()[0]),
            **({"weights streamed": self._streamed} if self._streamed else {}),
        }

    def _put_weights_back(self, folder: Path) -> None:
        for name, sha256 in self._entry.weights_from.items():
            file = folder / name
            if not file.is_file() or digest_file(file) != sha256:
                raise RecipeError(
                    "The graph that the engine takes its weights from is missing, or was changed.",
                    where=str(file),
                    hint="copy the folder again, or build the engine again",
                )
        put_back(self._trt, self._engine, folder / GRAPH_FILE)

    def _stream_weights(self, target: Target) -> str:
        limit = target.memory_limit
        return stream(self._engine, parse_size(limit, "target.memory_limit") if limit else None)

    def _context(self, profile: int) -> Any:
        context = self._engine.create_execution_context()
        self._require(context)
        self._require(context.set_optimization_profile_async(profile, self._stream.cuda_stream))
        return context

    def _profile_for(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        for number in self._profiles:
            if all(self._takes(number, name, shape) for name, shape in shapes.items()):
                return number
        given = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        raise RecipeError(
            f"No profile of the engine takes {given}.",
            where="parameter profiles of compile.tensorrt",
            accepted="; ".join(str(dict(profile)) for profile in self.profiles),
        )

    def _takes(self, profile: int, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self._engine.get_tensor_profile_shape(name, profile)
        return len(shape) == len(least) and all(
            low <= size <= high for low, size, high in zip(least, shape, most, strict=True)
        )

    def _require(self, done: object) -> None:
        """Most of TensorRT's calls return False, or None, where they fail."""
        if not done:
            raise StageError(
                f"{TITLES[self._entry.library]} fails: {self._logger.said()}", where=str(self._entry.file)
            )
