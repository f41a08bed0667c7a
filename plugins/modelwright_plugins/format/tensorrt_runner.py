"""Runs a text encoder in TensorRT, its tensors in PyTorch's memory on the GPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelwright.api.model import Model
from modelwright.api.runner import Floats, Inputs
from modelwright.api.target import Target
from modelwright.errors import MissingError, RecipeError
from modelwright.planning.gpu import gpus
from modelwright_plugins.format.engines import Engine, Engines
from modelwright_plugins.tensorrt.library import TITLES, load, logger_of
from modelwright_plugins.text.outputs import OUTPUTS
from modelwright_plugins.text.runner import TextRunner


class TensorRTRunner(TextRunner):
    """An execution context for each profile; a batch runs in the first whose shapes it fits."""

    def __init__(self, model: Model, target: Target) -> None:
        super().__init__(model)
        # A runtime of TensorRT without a GPU ends the process: look first.
        if not gpus():
            raise MissingError(
                "An engine of TensorRT runs on an NVIDIA GPU, and this machine has none.",
                where="target.device",
                accepted="a machine with an NVIDIA GPU and its driver",
                hint="the folder's model.onnx runs in ONNX Runtime",
            )
        import torch

        self._torch = torch
        self._device = torch.device("cuda")
        self._entry = _fitting(Engines.read(model.path), target)
        trt = load(self._entry.library)
        self._trt = trt
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
        self._output = OUTPUTS[model.spec.task]
        self._stream = torch.cuda.Stream()
        self._contexts = [self._context(number) for number in range(self._engine.num_optimization_profiles)]

    def _context(self, profile: int) -> Any:
        context = self._engine.create_execution_context()
        context.set_optimization_profile_async(profile, self._stream.cuda_stream)
        return context

    def forward(self, inputs: Inputs) -> Floats:
        """Last hidden state [batch, length, dim], or logits [batch, labels]."""
        torch = self._torch
        context = self._contexts[self._profile_for(inputs)]
        held = []  # until the stream has read them
        with torch.cuda.stream(self._stream):
            for number in range(self._engine.num_io_tensors):
                name = self._engine.get_tensor_name(number)
                if self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT:
                    tensor = torch.from_numpy(inputs[name]).to(self._device, self._type_of(name))
                    context.set_input_shape(name, tuple(tensor.shape))
                    context.set_tensor_address(name, tensor.data_ptr())
                    held.append(tensor)
            shape = tuple(context.get_tensor_shape(self._output))
            output = torch.empty(shape, dtype=self._type_of(self._output), device=self._device)
            context.set_tensor_address(self._output, output.data_ptr())
            context.execute_async_v3(self._stream.cuda_stream)
            found = output.float().cpu()
        return np.asarray(found.numpy(), dtype=np.float32)

    def _profile_for(self, inputs: Inputs) -> int:
        batch, length = inputs["input_ids"].shape
        for number, profile in enumerate(self._entry.profiles):
            (fewest, _, most), (shortest, _, longest) = profile["batch"], profile["length"]
            if fewest <= batch <= most and shortest <= length <= longest:
                return number
        raise RecipeError(
            f"The engine takes no batch of {batch} x {length} tokens.",
            where="stages.compile.profiles",
            accepted="; ".join(str(profile) for profile in self._entry.profiles),
        )

    def _type_of(self, name: str) -> Any:
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

    def describe(self) -> dict[str, str]:
        """Library, version, engine and GPU."""
        return {
            "runtime": f"{TITLES[self._entry.library]} {self._trt.__version__}",
            "engine": self._entry.file,
            "gpu": self._torch.cuda.get_device_name(),
        }


def _fitting(table: Engines, target: Target) -> Engine:
    """The engine for the GPU here. Raises MissingError where there is none."""
    import torch

    here = "{}.{}".format(*torch.cuda.get_device_capability())
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
