"""Batches that are being generated in ONNX Runtime GenAI."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modelwright.api.runner import Decoder, Floats, Tokens
from modelwright_plugins.format.onnx_decoder import SeparateRows

if TYPE_CHECKING:
    import onnxruntime_genai

# Below every logit, and finite: infinity would become NaN where it is subtracted from itself.
NEVER = np.float32(-1e30)


def start_rows(
    model: onnxruntime_genai.Model, presents: list[str], rows: list[list[int]], room: int, reserved: int
) -> Decoder:
    """Begin rows of token ids with room for `room` tokens each, the prompt's among them.

    `presents` are the names of the cache's outputs. `reserved` is the token that the model was opened with as
    padding and as end: at the end of a row GenAI would not see it, so that such rows are run one by one.
    """
    if len(rows) > 1 and any(row[-1] == reserved for row in rows):
        return SeparateRows([GenAIDecoder(model, presents, [row], room, reserved) for row in rows])
    return GenAIDecoder(model, presents, rows, room, reserved)


class GenAIDecoder:
    """A batch in a generator of its own; rows of unequal length are padded on the right, as GenAI wants them.

    A single row is continued token by token. GenAI continues a batch of more only by its own search, which
    is made to choose the tokens given by logits that allow no others.
    """

    def __init__(
        self,
        model: onnxruntime_genai.Model,
        presents: list[str],
        rows: list[list[int]],
        room: int,
        reserved: int,
    ) -> None:
        import onnxruntime_genai as og

        self._model = model
        self._presents = presents
        self._rows = [list(row) for row in rows]
        self._room = room
        self._reserved = reserved
        parameters = og.GeneratorParams(model)
        parameters.set_search_options(max_length=room, batch_size=len(rows), do_sample=False, num_beams=1)
        self._generator = og.Generator(model, parameters)
        tokens = np.full((len(rows), max(map(len, rows))), reserved, np.int32)
        for index, row in enumerate(rows):
            tokens[index, : len(row)] = row
        self._generator.append_tokens(tokens)
        # Of a prompt's logits GenAI gives those of the last token that is not padding, even in a single row.
        unseen = tokens[0, -1] == reserved and len(rows) == 1
        self.logits: Floats = self.prompt_logits()[:, -1] if unseen else self._read()
        self._allowed = np.full((len(rows), 1, self.logits.shape[1]), NEVER) if len(rows) > 1 else None
        self._apart: Decoder | None = None

    def step(self, tokens: Tokens) -> Floats:
        """Append one token to each row."""
        chosen = [int(token) for token in tokens]
        for row, token in zip(self._rows, chosen, strict=True):
            row.append(token)
        if self._apart is not None:
            self.logits = self._apart.step(tokens)
        elif self._allowed is None:
            self._generator.append_tokens(np.array([chosen], np.int32))
            self.logits = self._read()
        elif self._reserved in chosen:
            self._apart = start_rows(self._model, self._presents, self._rows, self._room, self._reserved)
            self.logits = self._apart.logits
        else:
            index = np.arange(len(chosen))
            self._allowed[index, 0, chosen] = 0
            self._generator.set_logits(self._allowed)
            self._generator.generate_next_token()
            self._allowed[index, 0, chosen] = NEVER
            self.logits = self._read()
        return self.logits

    def prompt_logits(self) -> Floats:
        """Logits at every position of the prompt just run, of shape [batch, length, vocabulary]."""
        return np.asarray(self._generator.get_output("logits"), np.float32)

    def cache_bytes(self) -> int | None:
        """Bytes of the keys and values that the generator holds, allocated for all of its room."""
        if self._apart is not None:
            return self._apart.cache_bytes()
        return sum(int(self._generator.get_output(name).nbytes) for name in self._presents)

    def _read(self) -> Floats:
        return np.asarray(self._generator.get_logits(), np.float32)[:, -1]
