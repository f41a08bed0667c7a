"""The machine an artifact is made for and measured on."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

TensorRTLibrary = Literal["tensorrt", "tensorrt_rtx"]


class Target(BaseModel):
    """Device, threads, ONNX Runtime execution provider, and which TensorRT.

    `threads` pins the intra-op threads of every runtime; null means all CPUs this process may use.
    `compute_capabilities` are those of GPUs that engines are built for where none is here, such as 8.9.
    Where `runs` is false, what is made for the target cannot run here: nothing is measured but files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: Literal["cpu", "cuda"] = "cpu"
    threads: int | None = Field(None, ge=1, le=1024)
    provider: str = Field("CPUExecutionProvider", pattern=r"^[A-Za-z]+ExecutionProvider$")
    runs: bool = True
    tensorrt: TensorRTLibrary | None = None
    compute_capabilities: tuple[Annotated[str, Field(pattern=r"^\d{1,2}\.\d$")], ...] = ()

    def resolved(self) -> Target:
        """The same target with `threads` filled in for this machine."""
        return self if self.threads else self.model_copy(update={"threads": available_cpus()})

    @property
    def thread_count(self) -> int:
        """The number of threads to use here."""
        return self.threads or available_cpus()


def available_cpus() -> int:
    """CPUs this process may run on (its affinity, not the machine's total)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
