"""Rotary positions: what a configuration scales them by, in GGUF's metadata and tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelwright.errors import RecipeError

if TYPE_CHECKING:
    from gguf import GGUFWriter

_NEEDED = {
    "linear": ["factor"],
    "yarn": ["factor"],
    "llama3": ["factor", "low_freq_factor", "high_freq_factor"],
}
# Parameters of YaRN that llama.cpp has no place for.
_NOT_EXPRESSED = ("attention_factor", "mscale", "mscale_all_dim")


class Rope:
    """The rotary part of a configuration.

    >>> Rope(config, where).write(writer)

    Kinds: none, linear (position interpolation), yarn, llama3. Raises RecipeError for others (dynamic,
    longrope), for partial rotation, and for what llama.cpp has no place for.

    Sources: Chen et al. 2023, Extending Context Window via Positional Interpolation; Peng et al. 2023, YaRN;
    Llama 3's scaling as in transformers' `modeling_rope_utils`.
    """

    def __init__(self, config: Mapping[str, Any], where: str) -> None:
        # transformers 5 keeps theta in `rope_parameters`; older files have `rope_scaling` beside it.
        self.values: dict[str, Any] = {
            "rope_theta": config.get("rope_theta", 10000.0),
            "original_max_position_embeddings": config.get("original_max_position_embeddings")
            or config.get("max_position_embeddings"),
            "partial_rotary_factor": config.get("partial_rotary_factor", 1.0),
            **(config.get("rope_scaling") or {}),
            **(config.get("rope_parameters") or {}),
        }
        self.theta = float(self.values["rope_theta"])
        self.kind = str(self.values.get("rope_type") or self.values.get("type") or "default")
        self._check(where)

    def write(self, writer: GGUFWriter) -> None:
        """Base and scaling."""
        from gguf import RopeScalingType

        writer.add_rope_freq_base(self.theta)
        if self.kind == "linear":
            writer.add_rope_scaling_type(RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(float(self.values["factor"]))
        elif self.kind == "yarn":
            writer.add_rope_scaling_type(RopeScalingType.YARN)
            writer.add_rope_scaling_factor(float(self.values["factor"]))
            writer.add_rope_scaling_orig_ctx_len(int(self.values["original_max_position_embeddings"]))
            writer.add_rope_scaling_yarn_beta_fast(float(self.values.get("beta_fast") or 32))
            writer.add_rope_scaling_yarn_beta_slow(float(self.values.get("beta_slow") or 1))

    def factors(self, width: int) -> NDArray[np.float32] | None:
        """What llama.cpp divides each pair's frequency by, of shape [width / 2]; None without llama3."""
        if self.kind != "llama3":
            return None
        factor, old = float(self.values["factor"]), float(self.values["original_max_position_embeddings"])
        low, high = float(self.values["low_freq_factor"]), float(self.values["high_freq_factor"])
        frequencies = self.theta ** -(np.arange(0, width, 2, dtype=np.float64) / width)
        turns = old * frequencies / (2 * math.pi)
        smooth = np.clip((turns - low) / (high - low), 0, 1)
        return (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)

    def _check(self, where: str) -> None:
        place = f"{where}, rotary scaling"
        if self.kind not in ("default", "linear", "yarn", "llama3"):
            raise RecipeError(
                f"Rotary positions are scaled by '{self.kind}', which export.gguf does not write.",
                where=place,
                accepted="none, linear, yarn, llama3",
            )
        if float(self.values["partial_rotary_factor"]) != 1:
            raise RecipeError("Only a part of each head is rotated.", where=place, accepted="all of it")
        lacking = [
            name for name in _NEEDED.get(self.kind, ()) if not isinstance(self.values.get(name), int | float)
        ]
        if lacking:
            raise RecipeError(f"The scaling '{self.kind}' lacks {', '.join(lacking)}.", where=place)
        extra = [name for name in _NOT_EXPRESSED if self.values.get(name) is not None]
        if self.kind == "yarn" and (extra or self.values.get("truncate") is False):
            raise RecipeError(
                f"YaRN with {', '.join(extra) or 'truncate: false'} is not what llama.cpp computes.",
                where=place,
            )
