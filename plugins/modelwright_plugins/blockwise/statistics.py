"""What calibration data tell of the inputs of a block's matrices: their energy, or their Hessian."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from modelwright.errors import StageError
from modelwright_plugins.blockwise.matrices import Matrix
from modelwright_plugins.blockwise.walk import Block

if TYPE_CHECKING:
    import torch

Kind = Literal["energy", "hessian"]


def input_statistics(block: Block, matrices: Sequence[Matrix], kind: Kind) -> dict[str, torch.Tensor]:
    """The mean of x x^T over the inputs x of each matrix on all batches, or its diagonal; by name.

    `hessian` has the shape [inputs, inputs] (half of the Hessian of the layer's squared error), `energy`
    [inputs]; float32. Matrices that read the same input share one. Raises StageError where a matrix is not
    used or reads values that are not finite.
    """
    import torch

    sums: dict[str, torch.Tensor] = {}
    counts: dict[str, int] = {}
    shared: dict[str, str] = {}
    seen: list[tuple[torch.Tensor, str]] = []

    def record(name: str) -> Any:
        def hook(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            value = inputs[0]
            leader = next((of for tensor, of in seen if tensor is value), None)
            if leader is None:
                seen.append((value, name))
                _add(sums, counts, name, value.reshape(-1, value.shape[-1]).float(), kind)
            shared[name] = leader or name

        return hook

    handles = [matrix.module.register_forward_pre_hook(record(matrix.name)) for matrix in matrices]
    try:
        for number in range(len(block.hidden)):
            seen.clear()
            block.run(number)
    finally:
        seen.clear()
        for handle in handles:
            handle.remove()
    for name, total in sums.items():
        if not torch.isfinite(total).all():
            raise StageError(
                f"The inputs of '{name}' are not finite on the calibration data.",
                where="model.path",
                hint="use a checkpoint whose activations do not overflow, or other calibration data",
            )
        total /= counts[name]
    if unused := [matrix.name for matrix in matrices if matrix.name not in shared]:
        raise StageError(
            f"The layer '{unused[0]}' was not used on the calibration data.",
            where="model.path",
            hint=f"leave it out: exclude=[{unused[0]}]",
        )
    return {matrix.name: sums[shared[matrix.name]] for matrix in matrices}


def _add(
    sums: dict[str, torch.Tensor], counts: dict[str, int], name: str, rows: torch.Tensor, kind: Kind
) -> None:
    found = rows.T @ rows if kind == "hessian" else rows.square().sum(0)
    if name in sums:
        sums[name] += found
    else:
        sums[name] = found
    counts[name] = counts.get(name, 0) + len(rows)
