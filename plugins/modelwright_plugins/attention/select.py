"""Choose the attention that a checkpoint runs with in PyTorch."""

from __future__ import annotations

import shutil
from typing import Literal

from pydantic import Field, JsonValue

from modelwright.api.context import StageContext
from modelwright.api.model import Model, ModelSize, ModelSpec
from modelwright.api.stage import MIB, Footprint, Stage
from modelwright.api.target import Target
from modelwright.errors import MissingError, ModelwrightError, RecipeError, StageError
from modelwright_plugins.attention.kernels import FLASH, FUSED, SINGLE_KERNEL, Kernel, kernels_used

Implementation = Literal["eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"]
ON_GPU = ("flash_attention_2", "flash_attention_3")
# What is tried after the one that was asked for.
FALLBACKS: tuple[Implementation, ...] = ("sdpa", "eager")
ACCEPTED_KERNELS: dict[str, frozenset[str]] = {"flash": FLASH, "fused": FUSED}


class SelectAttention(
    Stage,
    name="attention.select",
    takes="torch",
    gives="torch",
    fidelity="exact",
    requires=("torch", "transformers", "accelerate"),
):
    """Choose the attention that a checkpoint runs with in PyTorch, and show the kernels behind it.

    ::

        attention: {use: attention.select, implementation: sdpa, require: flash, padded: false}

    `implementation` is that of `from_pretrained`: `eager` writes attention out, `sdpa` is PyTorch's
    scaled_dot_product_attention, `flash_attention_2` and `flash_attention_3` are the packages of Dao et al.,
    `flex_attention` is compiled. One that is not installed, does not run here or is not written for the model
    is replaced by sdpa, or eager where that is missing, too: decided here, once, and kept with the model.
    Put it after the steps that change its type or its layers: kernels depend on both.

    The record `attention` says what was asked for and why it was replaced, and how many layers each kernel
    computed on the target's device, for rows of one length and for padded ones: flash, cuDNN's, memory-
    efficient, math or eager; of sdpa those that ran, of the others their own. With `require: flash` any layer
    in another kernel than flash attention or cuDNN's fails the step, with `fused` any in math or eager. On a
    GPU flash attention wants half precision, and PyTorch's own takes no mask of padding.

    Methods: FlashAttention-2 (Dao 2023, arXiv:2307.08691); FlashAttention-3 (Shah et al. 2024,
    arXiv:2407.08608); memory-efficient attention (Rabe and Staats 2021, arXiv:2112.05682).
    """

    implementation: Implementation = Field("sdpa", description="The attention to run with.")
    require: Literal["flash", "fused"] | None = Field(
        None, description="Fail where a layer's attention is computed by other kernels than these."
    )
    padded: bool = Field(True, description="Ask the same of padded batches, which take a mask.")

    def depends_on_machine(self) -> bool:
        """By the packages and the device that it finds."""
        return True

    def check(self, spec: ModelSpec) -> None:
        """An implementation with one kernel either is what is required, or not."""
        kernel = SINGLE_KERNEL.get(self.implementation)
        if self.require is not None and kernel and kernel not in ACCEPTED_KERNELS[self.require]:
            raise RecipeError(
                f"{self.implementation} is computed by the kernel {kernel}, and require={self.require} asks "
                f"for {', '.join(sorted(ACCEPTED_KERNELS[self.require]))}.",
                where="parameter implementation",
                accepted="sdpa, or an implementation with such kernels",
            )

    def check_target(self, target: Target) -> None:
        """FlashAttention's packages are for GPUs."""
        if self.require is not None and self.implementation in ON_GPU and target.device != "cuda":
            raise RecipeError(
                f"{self.implementation} runs on NVIDIA GPUs alone, and require={self.require} allows nothing "
                "in its place.",
                where="parameter implementation",
                accepted="sdpa or flex_attention for the CPU; or target=cuda",
            )

    def footprint(self, size: ModelSize) -> Footprint:
        """The checkpoint, read as it is, and copied; flex attention is compiled."""
        compiler = 100 if self.implementation == "flex_attention" else 0
        return Footprint(
            memory_bytes=(450 + compiler) * MIB + size.weight_bytes,
            disk_bytes=size.weight_bytes + 2 * MIB,
            result=size,
        )

    def run(self, model: Model, ctx: StageContext) -> None:
        """Try what was asked for, count kernels, copy the checkpoint."""
        chosen, found, reasons = self._first_that_runs(model, ctx)
        even, padded = found
        record: dict[str, JsonValue] = {
            "asked for": self.implementation,
            "used": chosen,
            "kernels": _words(even),
            "kernels, padded": _words(padded),
        }
        if reasons:
            record["replaced because"] = "; ".join(reasons)
            ctx.log.warning("Attention is '%s': %s.", chosen, record["replaced because"])
        ctx.record("attention", record)
        self._require(found if self.padded else found[:1], record, ctx)
        shutil.copytree(model.path, ctx.out, dirs_exist_ok=True, copy_function=shutil.copyfile)
        details = {**model.spec.details, "attention": chosen}
        if chosen != self.implementation:
            details["note"] = (
                f"Attention is {chosen} in place of {self.implementation}: {record['replaced because']}"
            )
        ctx.describe(details=details)

    def _first_that_runs(
        self, model: Model, ctx: StageContext
    ) -> tuple[Implementation, list[dict[Kernel, int]], list[str]]:
        """The first that loads and runs here, its kernels without and with padding, and why others do not."""
        import torch

        from modelwright_plugins.format.torch import load_checkpoint
        from modelwright_plugins.format.torch_device import require_device

        require_device(ctx.target)
        reasons: list[str] = []
        order = (self.implementation, *(other for other in FALLBACKS if other != self.implementation))
        for number, name in enumerate(order):
            ctx.progress(number, len(order), f"trying {name}")
            try:
                checkpoint = load_checkpoint(model, dtype=ctx.target.dtype, attention=name)
                checkpoint = checkpoint.to(ctx.target.device)
                return name, [kernels_used(checkpoint, padded=padded) for padded in (False, True)], reasons
            except torch.OutOfMemoryError:
                raise
            except (MissingError, RecipeError, RuntimeError, ValueError) as error:
                if name == order[-1] and isinstance(error, RecipeError):
                    raise  # no attention is to blame
                ctx.log.info("'%s' does not run.", name, exc_info=error)
                reasons.append(f"{name}: {_first_line(error)}")
        raise StageError(
            f"No attention runs: {'; '.join(reasons)}.",
            where=model.spec.architecture,
            hint="the step's log has the whole messages",
        )

    def _require(
        self, found: list[dict[Kernel, int]], record: dict[str, JsonValue], ctx: StageContext
    ) -> None:
        if self.require is None:
            return
        kernels = {kernel for counts in found for kernel in counts}
        if kernels and kernels <= ACCEPTED_KERNELS[self.require]:
            return
        replaced = record.get("replaced because")
        raise StageError(
            f"Attention is computed by {record['kernels']}; in padded batches by {record['kernels, padded']}"
            + (f" ({replaced})." if replaced else "."),
            where=ctx.where("require"),
            accepted=f"{', '.join(sorted(ACCEPTED_KERNELS[self.require]))} in every layer",
            hint="on a GPU cast to bf16 or fp16 before; padded=false asks for batches of one length alone",
        )


def _words(counts: dict[Kernel, int]) -> str:
    return ", ".join(f"{kernel} in {count} layers" for kernel, count in sorted(counts.items())) or "no kernel"


def _first_line(error: Exception) -> str:
    text = error.what if isinstance(error, ModelwrightError) else str(error)
    return text.strip().partition("\n")[0].rstrip(".")
