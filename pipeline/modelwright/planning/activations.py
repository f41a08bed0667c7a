"""What a forward pass holds beside weights and cache, at its peak.

Counted for transformers in PyTorch, as a forward without gradients runs there: vectors per token that are
alive at once, in the widest moment of a layer and at the head.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from modelwright.api.anatomy import Anatomy, Shape

Attention = Literal["fused", "eager"]

# Alive through a decoder's layer: the embeddings, its input, the residual and the normalized vector. An
# encoder normalizes last and has no residual beside its input.
DECODER_STREAMS, ENCODER_STREAMS = 4, 3


class Activations(NamedTuple):
    """Bytes alive at once: while attending, in the MLP, and at the head; and in one step of decoding.

    `last_logits` are those of a prompt's last token, which generation needs; `all_logits` those of every
    token, which a loss needs.
    """

    attention: int
    mlp: int
    last_logits: int
    all_logits: int
    decode: int

    @property
    def generate(self) -> int:
        """The peak of generation: of the prompt or of a later step."""
        return max(self.attention, self.mlp, self.last_logits, self.decode)

    @property
    def forward(self) -> int:
        """The peak of a forward pass that keeps the logits of every token."""
        return max(self.attention, self.mlp, self.all_logits)


def activations(
    anatomy: Anatomy, batch: int, length: int, item: int, attention: Attention
) -> Activations | None:
    """The peak for `batch` sequences of `length` tokens, values of `item` bytes; None where not known.

    Eager attention holds scores for every pair of tokens; fused attention none.
    """
    shape = anatomy.shape
    if not (shape.hidden and shape.heads and shape.head_dim and shape.intermediate):
        return None
    tokens = batch * length
    streams = DECODER_STREAMS if shape.generates else ENCODER_STREAMS
    vocabulary = shape.vocabulary if shape.generates and shape.vocabulary else 0
    # Sampling turns the logits of the last token into float32.
    last = batch * vocabulary * (item + 4)
    return Activations(
        attention=tokens * _attending(shape) * item + _scores(shape, batch, length, length, item, attention),
        mlp=tokens * (streams * shape.hidden + shape.inner_copies * shape.intermediate) * item
        + _kept_scores(shape, batch, length, item, attention),
        last_logits=3 * tokens * shape.hidden * item + last,
        all_logits=tokens * (3 * shape.hidden + vocabulary) * item,
        decode=_decode(anatomy, batch, length, item, attention) + last,
    )


def _attending(shape: Shape) -> int:
    """Values of one token while a layer attends: queries (also rotated, and summed up), keys and values."""
    queries = (shape.heads or 0) * (shape.head_dim or 0)
    keys_and_values = (shape.kv_heads or 0) * ((shape.head_dim or 0) + (shape.value_dim or 0))
    kept = 3 if shape.generates else 2
    return kept * (shape.hidden or 0) + kept * queries + keys_and_values


def _scores(shape: Shape, batch: int, queries: int, keys: int, item: int, attention: Attention) -> int:
    if attention == "fused":
        return 0
    heads, dim = shape.heads or 0, shape.head_dim or 0
    # Keys and values are repeated until every query head has its own.
    repeated = 2 * batch * keys * heads * dim * item if shape.kv_heads != shape.heads else 0
    return batch * heads * queries * keys * (shape.score_values * item + shape.score_bytes) + repeated


def _kept_scores(shape: Shape, batch: int, length: int, item: int, attention: Attention) -> int:
    """A layer of transformers holds its eager attention's scores until it ends."""
    return 0 if attention == "fused" else batch * (shape.heads or 0) * length * length * item


def _decode(anatomy: Anatomy, batch: int, length: int, item: int, attention: Attention) -> int:
    """One more token: a growing cache is copied layer by layer, so that one layer's is there twice."""
    shape = anatomy.shape
    if not shape.generates:
        return 0
    layer = max((cache.elements * cache.tokens(length) for cache in anatomy.caches), default=0)
    copied = batch * (layer * shape.cache_copies + _attending(shape)) * item
    return copied + _scores(shape, batch, 1, length, item, attention)
