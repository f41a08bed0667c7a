"""The machine an artifact is made for and measured on."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

TensorRTLibrary = Literal["tensorrt", "tensorrt_rtx"]


def _capability(text: str) -> str:
    if not re.fullmatch(r"\d{1,2}\.\d", text):
        raise ValueError("a compute capability is written as '8.9'")
    return text


def _provider(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z]+ExecutionProvider", text):
        raise ValueError(
            "an execution provider is named as in ONNX Runtime, CPUExecutionProvider or CUDAExecutionProvider"
        )
    return text


class Target(BaseModel):
    """Device, threads, ONNX Runtime execution provider, and which TensorRT.

    ::

        target: {device: cuda, provider: CUDAExecutionProvider, memory_limit: 8GiB, graph_capture: true}

    `threads` pins the intra-op threads of every runtime; null means all CPUs this process may use.
    `dtype` is the type that PyTorch computes in, whatever a checkpoint's weights are stored in; null keeps
    theirs. Graphs and engines have types of their own. `memory_limit` is the most memory of a GPU that
    PyTorch and ONNX Runtime may each take, and TensorRT where it streams weights; `provider_options` go to
    ONNX Runtime's CUDA provider as they are, such as use_tf32. With `graph_capture` it records the kernels of
    shapes that come back as a CUDA graph and launches them at once, which helps small batches; of a model
    that generates these are steps of one token.
    `compute_capabilities` are those of GPUs that engines are built for where none is here, such as 8.9.
    Where `runs` is false, what is made for the target cannot run here: nothing is measured but files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: Literal["cpu", "cuda"] = "cpu"
    threads: int | None = Field(None, ge=1, le=1024)
    provider: Annotated[str, AfterValidator(_provider)] = "CPUExecutionProvider"
    dtype: Literal["float32", "float16", "bfloat16"] | None = None
    memory_limit: str | None = None
    provider_options: dict[str, str] = {}
    graph_capture: bool = False
    runs: bool = True
    tensorrt: TensorRTLibrary | None = None
    compute_capabilities: tuple[Annotated[str, AfterValidator(_capability)], ...] = ()

    @model_validator(mode="after")
    def _fits_the_device(self) -> Self:
        if self.memory_limit is not None and self.device != "cuda":
            raise ValueError("memory_limit is for a GPU: set device to cuda, or leave it out")
        if self.provider == "CUDAExecutionProvider" and self.device != "cuda":
            raise ValueError(
                "CUDAExecutionProvider runs on a GPU: set device to cuda, or choose another provider"
            )
        for field in ("graph_capture", "provider_options"):
            if getattr(self, field) and (self.provider != "CUDAExecutionProvider" or self.tensorrt):
                raise ValueError(
                    f"{field} is for ONNX Runtime on a GPU: set provider to CUDAExecutionProvider and no "
                    "tensorrt, or leave it out"
                )
        return self

    def resolved(self) -> Target:
        """The same target with `threads` filled in for this machine."""
        return self if self.threads else self.model_copy(update={"threads": available_cpus()})

    def summary(self) -> dict[str, Any]:
        """Device, threads, provider and whatever else is not as by default, as plain data."""
        always = self.model_dump(mode="json", include={"device", "threads", "provider"})
        return always | self.model_dump(mode="json", exclude_defaults=True)

    @property
    def thread_count(self) -> int:
        """The number of threads to use here."""
        return self.threads or available_cpus()


def available_cpus() -> int:
    """CPUs this process may run on (its affinity, not the machine's total)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
