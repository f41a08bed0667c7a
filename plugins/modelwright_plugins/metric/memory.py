"""Peak memory of serving a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import Field

from modelwright.api.metric import Interval, Metric, MetricContext, Observation, Value
from modelwright.api.model import Model
from modelwright.api.runner import Runner
from modelwright.planning.gpu import gpu_memory
from modelwright.process.memory import peak_rss
from modelwright_plugins.format.torch_device import cuda_peak
from modelwright_plugins.metric.cells import largest_batch

# Figures of GPUs, by the key of their observation; those of `cuda` are PyTorch's.
ON_GPU = {"gpu": "gpu_bytes", "cuda": "cuda_bytes", "cuda_reserved": "cuda_reserved_bytes"}


class Memory(Metric, name="memory", group="alone", figures=("peak", "gpu", "cuda", "cuda_reserved")):
    """Peak resident memory, in bytes, of a process that loads the model and runs one batch.

    ::

        memory: {batch: 16, length: 128}

    The whole process counts, libraries included: it is what a server pays. It runs nothing else, so that
    nothing has to be freed before. On a GPU `memory.gpu` is what the driver has handed out since before the
    model was loaded, in any runtime and with its libraries: this process's, where no other uses the GPU
    meanwhile, since runtimes keep what they took. Where PyTorch runs both models, `memory.cuda` is the peak
    of the tensors there and `memory.cuda_reserved` of what it took for them. A model that takes fewer tokens,
    or a runtime that takes fewer texts, runs with what it takes; two that ran with different inputs are not
    compared.
    """

    batch: int = Field(16, ge=1, le=65_536, description="Texts in the batch.")
    length: int = Field(128, ge=1, le=65_536, description="Tokens per text.")

    def observe(self, model: Model, runner: Runner | None, ctx: MetricContext) -> Iterator[Observation]:
        """One round: the peak of this process."""
        assert runner is not None
        length = min(self.length, model.spec.max_length)
        batch = min(self.batch, largest_batch(runner) or self.batch)
        runner.infer(runner.sample(batch, length, ctx.seed))
        found = {"bytes": peak_rss(), "batch": batch, "length": length}
        used = gpu_memory()
        if used is not None and ctx.gpu_bytes_before is not None and used > ctx.gpu_bytes_before:
            found["gpu_bytes"] = used - ctx.gpu_bytes_before
        if (on_gpu := cuda_peak(ctx.target)) is not None:
            found |= {"cuda_bytes": on_gpu.allocated, "cuda_reserved_bytes": on_gpu.reserved}
        yield found

    def compare(
        self, baseline: Sequence[Observation], candidate: Sequence[Observation], seed: int
    ) -> list[Value]:
        """Bytes of both and how many times smaller; of the candidate alone where the inputs differ."""
        before, after = baseline[0], candidate[0]
        changes: dict[str, object] = {"protocol": {"batch": after["batch"], "length": after["length"]}}
        if (before["batch"], before["length"]) != (after["batch"], after["length"]):
            changes |= {"baseline": None, "difference": None, "ratio": None}
        values = [bytes_value("memory.peak", before["bytes"], after["bytes"])]
        for figure, key in ON_GPU.items():
            if key in before and key in after:
                values.append(bytes_value(f"memory.{figure}", before[key], after[key]))
        return [value.model_copy(update=changes) for value in values]


def bytes_value(name: str, before: int, after: int) -> Value:
    """A figure in bytes, smaller being better."""
    return Value(
        name=name,
        unit="bytes",
        better="lower",
        baseline=Interval.exactly(before),
        candidate=Interval.exactly(after),
        difference=Interval.exactly(after / before - 1),
        ratio=Interval.exactly(before / after),
    )
