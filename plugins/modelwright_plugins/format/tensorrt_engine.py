"""An engine on this machine's GPU, its tensors in PyTorch's memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from modelwright.api.model import Model
from modelwright.errors import MissingError, RecipeError
from modelwright.planning.gpu import gpus
from modelwright_plugins.format.engines import Engine, Engines
from modelwright_plugins.tensorrt.library import TITLES, load, logger_of

if TYPE_CHECKING:
    import torch

# What a tensor without elements is bound to: an address is asked for nevertheless.
LEAST_BYTES = 256


def require_engine(table: Engines) -> Engine:
    """The engine for the GPU here. Raises MissingError where there is no GPU, or none of its kind."""
    # A runtime of TensorRT without a GPU ends the process: look first.
    if not gpus():
        raise MissingError(
            "An engine of TensorRT runs on an NVIDIA GPU, and this machine has none.",
            where="target.device",
            accepted="a machine with an NVIDIA GPU and its driver",
            hint="the folder's model.onnx runs in ONNX Runtime; a recipe with fallback=true in its step "
            "compile.tensorrt lets it",
        )
    here = gpus()[0].compute_capability
    for engine in table.engines:
        if here in engine.compute_capabilities or not engine.compute_capabilities:
            return engine
    made = sorted({version for engine in table.engines for version in engine.compute_capabilities})
    raise MissingError(
        f"The engines are for compute capability {', '.join(made)}, and this GPU has {here}.",
        where="target.compute_capabilities",
        accepted=", ".join(made),
        hint="build one on this machine, or run the folder's model.onnx in ONNX Runtime",
    )


class LoadedEngine:
    """The engine of a folder that fits this machine, with an execution context for each profile.

    >>> engine = LoadedEngine(model)
    >>> engine.run({"input_ids": ids, "attention_mask": mask}, {"batch": 1, "length": 128})["logits"]

    Raises MissingError where none fits, RecipeError for one that the library does not load.
    """

    def __init__(self, model: Model) -> None:
        self._entry = require_engine(Engines.read(model.path))
        import torch

        self._torch = torch
        self._device = torch.device("cuda")
        self._trt = trt = load(self._entry.library)
        self._logger = logger_of(trt)
        self._runtime = trt.Runtime(self._logger)
        file = model.path / self._entry.file
        self._engine = self._runtime.deserialize_cuda_engine(file.read_bytes())
        if self._engine is None:
            raise RecipeError(
                f"{TITLES[self._entry.library]} does not load the engine: {' '.join(self._logger.errors)}",
                where=str(file),
                accepted=f"an engine of version {trt.__version__} for this GPU, as it was written",
                hint="build it again on this machine",
            )
        self._stream = torch.cuda.Stream()
        self._contexts = [self._context(number) for number in range(self._engine.num_optimization_profiles)]
        names = [self._engine.get_tensor_name(number) for number in range(self._engine.num_io_tensors)]
        is_input = {name: self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT for name in names}
        self.inputs = tuple(name for name in names if is_input[name])
        self.outputs = tuple(name for name in names if not is_input[name])

    @property
    def profiles(self) -> tuple[Mapping[str, tuple[int, int, int]], ...]:
        """[min, opt, max] of each dynamic dimension."""
        return self._entry.profiles

    def run(
        self, inputs: Mapping[str, np.ndarray | torch.Tensor], sizes: Mapping[str, int]
    ) -> dict[str, torch.Tensor]:
        """Outputs on the GPU, of the first profile that takes dimensions of these sizes.

        Arrays are copied to the GPU, tensors there are read in place. Raises RecipeError where no profile
        takes the sizes.
        """
        torch = self._torch
        context = self._contexts[self._profile_for(sizes)]
        held = [torch.empty(LEAST_BYTES, dtype=torch.uint8, device=self._device)]
        nothing = held[0].data_ptr()
        with torch.cuda.stream(self._stream):
            for name in self.inputs:
                given = inputs[name]
                tensor = torch.from_numpy(given) if isinstance(given, np.ndarray) else given
                tensor = tensor.to(self._device, self.dtype_of(name)).contiguous()
                context.set_input_shape(name, tuple(tensor.shape))
                context.set_tensor_address(name, tensor.data_ptr() or nothing)
                held.append(tensor)
            found = {}
            for name in self.outputs:
                shape = tuple(context.get_tensor_shape(name))
                found[name] = torch.empty(shape, dtype=self.dtype_of(name), device=self._device)
                context.set_tensor_address(name, found[name].data_ptr() or nothing)
            context.execute_async_v3(self._stream.cuda_stream)
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
        }

    def _context(self, profile: int) -> Any:
        context = self._engine.create_execution_context()
        context.set_optimization_profile_async(profile, self._stream.cuda_stream)
        return context

    def _profile_for(self, sizes: Mapping[str, int]) -> int:
        for number, profile in enumerate(self.profiles):
            if all(profile[name][0] <= size <= profile[name][2] for name, size in sizes.items()):
                return number
        raise RecipeError(
            f"The engine takes no {', '.join(f'{name} of {size}' for name, size in sizes.items())}.",
            where="parameter profiles of compile.tensorrt",
            accepted="; ".join(str(profile) for profile in self.profiles),
        )
