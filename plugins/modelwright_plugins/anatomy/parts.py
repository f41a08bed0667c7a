"""Writes down the modules of a model one after the other, as its class registers them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from modelwright.api.anatomy import Group, Module, Tensor

FLOAT32, INT64, BOOL = 4, 8, 1


class Parts:
    """Collects modules in order; names are relative to the module that is open.

    >>> parts = Parts()
    >>> with parts.layer("model.layers.0"):
    ...     parts.linear("mlp.down_proj", 1536, 576)
    """

    def __init__(self) -> None:
        self.modules: list[Module] = []
        self._prefix = ""

    @contextmanager
    def layer(self, path: str, *tensors: Tensor, whole: bool = True) -> Iterator[None]:
        """A module that must lie on one device where `whole`; what is added meanwhile is inside it."""
        self.modules.append(Module(self._path(path), tensors, whole))
        with self.inside(path):
            yield

    @contextmanager
    def inside(self, path: str) -> Iterator[None]:
        """Names of what is added meanwhile are relative to `path`; an empty one changes nothing."""
        before, self._prefix = self._prefix, self._path(path) + "." if path else self._prefix
        yield
        self._prefix = before

    def add(self, path: str, *tensors: Tensor) -> None:
        """A module with tensors of its own; without any, one that only holds a place in the order."""
        self.modules.append(Module(self._path(path), tensors))

    def embedding(self, path: str, rows: int, width: int) -> None:
        """A table of `rows` vectors."""
        self.add(path, Tensor("weight", (rows, width), "embedding"))

    def linear(
        self,
        path: str,
        inputs: int,
        outputs: int,
        *,
        bias: bool = False,
        group: Group = "linear",
        transposed: bool = False,
    ) -> None:
        """A matrix [outputs, inputs], or [inputs, outputs] where `transposed` (GPT-2's Conv1D)."""
        shape = (inputs, outputs) if transposed else (outputs, inputs)
        tensors = [Tensor("weight", shape, group, inputs)]
        if bias:
            tensors.append(Tensor("bias", (outputs,), "other"))
        self.add(path, *tensors)

    def norm(self, path: str, width: int, *, bias: bool = False) -> None:
        """A normalization's scale, and its shift where `bias`."""
        names = ("weight", "bias") if bias else ("weight",)
        self.add(path, *(Tensor(name, (width,), "norm") for name in names))

    def rotary(self, path: str, dim: int, kinds: tuple[str, ...] = ("",)) -> None:
        """Rotary frequencies for `dim` of a head's values; both copies that transformers holds, per kind."""
        frequencies = (dim + 1) // 2
        self.add(
            path,
            *(
                Tensor(f"{kind}{name}", (frequencies,), "buffer", item_bytes=FLOAT32)
                for kind in kinds
                for name in ("inv_freq", "original_inv_freq")
            ),
        )

    def head(self, inputs: int, vocabulary: int, *, bias: bool = False, tied: bool = False) -> None:
        """`lm_head`; a tied one holds no weight of its own."""
        if tied:
            extra = (Tensor("bias", (vocabulary,), "other"),) if bias else ()
            self.add("lm_head", *extra)
        else:
            self.linear("lm_head", inputs, vocabulary, bias=bias, group="head")

    def gated_mlp(self, path: str, hidden: int, inner: int, *, bias: bool = False) -> None:
        """The MLP of Llama and its descendants."""
        self.linear(f"{path}.gate_proj", hidden, inner, bias=bias)
        self.linear(f"{path}.up_proj", hidden, inner, bias=bias)
        self.linear(f"{path}.down_proj", inner, hidden, bias=bias)

    def experts(self, path: str, count: int, hidden: int, inner: int) -> None:
        """The experts of a mixture as transformers holds them: two tensors over all of them."""
        self.add(
            path,
            Tensor("gate_up_proj", (count, 2 * inner, hidden), "linear", hidden),
            Tensor("down_proj", (count, hidden, inner), "linear", inner),
        )

    def _path(self, path: str) -> str:
        return self._prefix + path
