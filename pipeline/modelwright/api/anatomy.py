"""What a model is built of, known before a weight is read: its tensors, its shape, what its cache holds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

Group = Literal["embedding", "linear", "head", "norm", "other", "buffer"]
# A buffer is held beside the parameters (masks, frequencies) and is not one of them.
PARAMETER_GROUPS: tuple[Group, ...] = ("embedding", "linear", "head", "norm", "other")


class Tensor(NamedTuple):
    """One tensor of a module, by its name there: `weight` of shape [128, 64].

    `inputs` is the length of the dimension that a matrix product sums over (0 where there is no product):
    what block-wise quantization cuts into blocks. `item_bytes` is set where an element's size does not
    follow the model's dtype.
    """

    name: str
    shape: tuple[int, ...]
    group: Group
    inputs: int = 0
    item_bytes: int | None = None

    @property
    def elements(self) -> int:
        """The number of values."""
        return math.prod(self.shape)


class Module(NamedTuple):
    """One module by its dotted path, with the tensors it owns itself (those of its children are theirs).

    `whole` marks a module that must lie on one device, such as a layer with its residual connection.
    """

    path: str
    tensors: tuple[Tensor, ...] = ()
    whole: bool = False


class LayerCache(NamedTuple):
    """What one layer keeps of a sequence: `elements` values a token, for its last `window` tokens or all."""

    elements: int
    window: int | None = None

    def tokens(self, length: int) -> int:
        """How many tokens of a sequence of `length` are kept."""
        return length if self.window is None else min(length, self.window)


class Shape(BaseModel):
    """The figures of a transformer that cost arithmetic needs; None where they are not known.

    `intermediate` is the widest inner dimension that one token passes in an MLP (the shared and the chosen
    experts of a mixture together). `value_dim` differs from `head_dim` only with latent attention.
    `inner_copies` is how many vectors of that width an MLP holds at once. `fused_attention` says whether
    PyTorch's fused attention serves the family; eager attention holds, at its peak and for each pair of a
    query and a key of one head, `score_values` values and another `score_bytes`, which do not follow the
    dtype. `cache_copies` is how often PyTorch's cache holds what the architecture asks to be kept.
    `generates` marks a model with a key-value cache.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layers: int | None = None
    hidden: int | None = None
    intermediate: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    value_dim: int | None = None
    vocabulary: int | None = None
    context_length: int | None = None
    inner_copies: int = 2
    fused_attention: bool = True
    score_values: int = 0
    score_bytes: int = 8
    cache_copies: int = 1
    generates: bool = False


class Anatomy(BaseModel):
    """A model's parts and shape, from its configuration and the headers of its weights alone.

    >>> anatomy = Torch().anatomy(Path("checkpoint"))
    >>> anatomy.parameters, anatomy.cache_elements_per_token
    (134515008, 11520)

    `modules` are in the order in which they run and load. `tied` pairs the name of a tensor that is not
    there with the one that stands for it (an output head with the embedding table); a tied tensor is in
    `modules` once, as the embedding. `caches` holds one entry for each layer with a key-value cache.
    `dtype` is that of the stored weights, or the one the configuration names. `stored_bytes` are the
    weights on disk, 0 where there are none. `notes` are what a reader should know, such as figures that
    rest on an assumption.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    architecture: str
    model_type: str
    dtype: str
    modules: tuple[Module, ...]
    shape: Shape = Shape()
    tied: tuple[tuple[str, str], ...] = ()
    caches: tuple[LayerCache, ...] = ()
    stored_bytes: int = 0
    notes: tuple[str, ...] = ()

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor, buffers too."""
        for module in self.modules:
            yield from module.tensors

    @property
    def parameters(self) -> int:
        """The number of parameters; a tied head counts once."""
        return sum(tensor.elements for tensor in self.tensors() if tensor.group != "buffer")

    @property
    def groups(self) -> dict[Group, int]:
        """The number of parameters of each group."""
        counts: dict[Group, int] = dict.fromkeys(PARAMETER_GROUPS, 0)
        for tensor in self.tensors():
            if tensor.group != "buffer":
                counts[tensor.group] += tensor.elements
        return counts

    @property
    def largest_tensor(self) -> int:
        """Elements of the largest tensor: what a conversion holds twice at its peak."""
        return max((tensor.elements for tensor in self.tensors()), default=0)

    @property
    def cache_elements_per_token(self) -> int:
        """Values that the key-value cache keeps for one token, over all layers."""
        return sum(cache.elements for cache in self.caches)

    @property
    def sliding_window(self) -> int | None:
        """The window of the layers that have one; None where none has."""
        return max((cache.window for cache in self.caches if cache.window), default=None)

    @property
    def windowed_layers(self) -> tuple[int, ...]:
        """The layers whose cache is limited to the window."""
        return tuple(index for index, cache in enumerate(self.caches) if cache.window)

    def cache_elements(self, batch: int, length: int) -> int:
        """Values that the cache of `batch` sequences of `length` tokens keeps."""
        return batch * sum(cache.elements * cache.tokens(length) for cache in self.caches)
