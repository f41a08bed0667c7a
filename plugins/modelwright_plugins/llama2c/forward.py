"""The forward pass of llama2.c's programs in NumPy, for a batch that is padded on the left."""

from __future__ import annotations

import numpy as np

from modelwright.api.runner import Floats, Tokens
from modelwright_plugins.llama2c.architecture import EPSILON
from modelwright_plugins.llama2c.layout import Header
from modelwright_plugins.llama2c.read import Weights
from modelwright_plugins.llama2c.rotary import rotate, tables
from modelwright_plugins.text.steps import positions


class KeyValueCache:
    """Keys and values of a batch, float32 of shape [layers, batch, key-value heads, room, head_dim]."""

    def __init__(self, header: Header, batch: int, room: int) -> None:
        shape = (header.layers, batch, header.kv_heads, room, header.head_dim)
        self.keys = np.zeros(shape, np.float32)
        self.values = np.zeros(shape, np.float32)
        self.length = 0

    @property
    def nbytes(self) -> int:
        """Bytes of both."""
        return self.keys.nbytes + self.values.nbytes


class Transformer:
    """A model file as a function of tokens.

    >>> transformer = Transformer(Weights(file))
    >>> hidden = transformer.hidden(ids, mask, cache)      # [batch, length, dim]
    >>> transformer.classify(hidden[:, -1])                # [batch, vocabulary]
    """

    def __init__(self, weights: Weights) -> None:
        self.header = weights.header
        self._weights = weights
        self._classifier = "tok_embeddings" if weights.header.shared else "output"

    def hidden(self, ids: Tokens, mask: Tokens, cache: KeyValueCache) -> Floats:
        """Last hidden states, of shape [batch, length, dim], of `ids` of shape [batch, length].

        `mask` covers what is in the cache as well, of shape [batch, past + length]; the cache is appended to.
        """
        places = positions(mask, ids.shape[1])
        cosines, sines = tables(places, self.header.head_dim)
        begins = mask.argmax(axis=1)
        state = self._weights.matrix("tok_embeddings").rows(ids)
        for layer in range(self.header.layers):
            normed = self._norm(state, "attention_norm", layer)
            state = state + self._attention(normed, layer, cosines, sines, begins, cache)
            state = state + self._mlp(self._norm(state, "ffn_norm", layer), layer)
        cache.length += ids.shape[1]
        return self._norm(state, "norm", 0)

    def classify(self, hidden: Floats) -> Floats:
        """Logits of shape [..., vocabulary]."""
        return self._weights.matrix(self._classifier).apply(hidden)

    def _norm(self, state: Floats, name: str, layer: int) -> Floats:
        mean = np.square(state).mean(axis=-1, keepdims=True)
        return self._weights.vector(name, layer) * (state / np.sqrt(mean + np.float32(EPSILON)))

    def _mlp(self, state: Floats, layer: int) -> Floats:
        gate = self._weights.matrix("w1", layer).apply(state)
        # x * sigmoid(x), by tanh, which does not overflow.
        gate *= np.float32(0.5) * (1 + np.tanh(np.float32(0.5) * gate))
        gate *= self._weights.matrix("w3", layer).apply(state)
        return self._weights.matrix("w2", layer).apply(gate)

    def _attention(
        self,
        state: Floats,
        layer: int,
        cosines: Floats,
        sines: Floats,
        begins: Tokens,
        cache: KeyValueCache,
    ) -> Floats:
        batch, length, _ = state.shape

        def heads(name: str) -> Floats:
            projected = self._weights.matrix(name, layer).apply(state)
            return projected.reshape(batch, length, -1, self.header.head_dim)

        total = cache.length + length
        queries = rotate(heads("wq"), cosines, sines)
        keys = rotate(heads("wk"), cosines, sines)
        cache.keys[layer, :, :, cache.length : total] = keys.swapaxes(1, 2)
        cache.values[layer, :, :, cache.length : total] = heads("wv").swapaxes(1, 2)
        mixed = np.zeros((batch, length, self.header.dim), np.float32)
        for row, begin in enumerate(begins.tolist()):
            first = max(begin - cache.length, 0)  # the queries before it are padding
            mixed[row, first:] = self._mix(
                queries[row, first:],
                cache.keys[layer, row, :, begin:total],
                cache.values[layer, row, :, begin:total],
            )
        return self._weights.matrix("wo", layer).apply(mixed)

    def _mix(self, queries: Floats, keys: Floats, values: Floats) -> Floats:
        """Attention of the last tokens of one text to all of it.

        Queries are [tokens, heads, head_dim]; keys and values are [key-value heads, text, head_dim].
        """
        tokens, heads, width = queries.shape
        kept, text, _ = keys.shape
        grouped = queries.swapaxes(0, 1).reshape(kept, heads // kept * tokens, width)
        scores: Floats = (grouped @ keys.swapaxes(1, 2)).reshape(heads, tokens, text)
        scores *= np.float32(width**-0.5)
        if tokens > 1:
            ahead = np.triu(np.ones((tokens, text), bool), text - tokens + 1)
            scores[:, ahead] = -np.inf
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed: Floats = scores.reshape(kept, heads // kept * tokens, text) @ values
        return mixed.reshape(heads, tokens, width).swapaxes(0, 1).reshape(tokens, heads * width)
