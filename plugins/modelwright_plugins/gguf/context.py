"""llama.cpp's contexts: a KV cache for the rows of a batch, and the logits of the tokens run through it."""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

import numpy as np

from modelwright.api.runner import Floats
from modelwright.errors import StageError

# Tokens computed at once in a long prompt, as llama.cpp's own programs do.
CHUNK = 512
# llama.cpp reserves the cache in multiples of this many tokens per row.
CELLS = 256


class Token(NamedTuple):
    """A token to run: where it belongs, and whether its logits are wanted."""

    row: int
    position: int
    token: int
    wanted: bool


class Room(NamedTuple):
    """Sequences, tokens of cache for each, and the most logits asked for at once."""

    rows: int
    cells: int
    outputs: int


class Contexts:
    """Makes contexts of one model, and keeps the last one that was given back: making one takes milliseconds.

    >>> contexts = Contexts(library, model_pointer, threads=2, precision="f16", fused=True)

    `precision` is the type of keys and values. Fused attention on the CPU sums in float16, whatever they are.
    """

    def __init__(self, library: Any, model: Any, threads: int, precision: str, *, fused: bool) -> None:
        self.library = library
        self._model = model
        self._threads = threads
        self._precision = precision
        self._fused = fused
        self._idle: tuple[Room, Any] | None = None

    def take(self, room: Room) -> Any:
        """A context with an empty cache. Raises StageError when llama.cpp makes none."""
        if self._idle is not None and self._idle[0] == room:
            (_, context), self._idle = self._idle, None
            self.library.llama_memory_clear(self.library.llama_get_memory(context), False)
            return context
        self.close()
        options = self.library.llama_context_default_params()
        options.n_ctx = room.rows * room.cells
        options.n_seq_max = room.rows
        options.n_batch = options.n_ubatch = min(CHUNK, room.rows * room.cells)
        options.n_outputs_max = room.outputs
        options.n_threads = options.n_threads_batch = self._threads
        options.type_k = options.type_v = getattr(self.library, f"GGML_TYPE_{self._precision.upper()}")
        if not self._fused:
            options.flash_attn_type = self.library.LLAMA_FLASH_ATTN_TYPE_DISABLED
        context = self.library.llama_init_from_model(self._model, options)
        if not context:
            raise StageError(
                f"llama.cpp makes no KV cache of {self._precision} for {room.rows} x {room.cells:,} tokens.",
                hint="its reason is in the log; q8_0 needs heads whose width 32 divides",
            )
        return context

    def give_back(self, room: Room, context: Any) -> None:
        """Keep a context for the next that needs as much room."""
        self.close()
        self._idle = (room, context)

    def close(self) -> None:
        """Free the one that is kept."""
        if self._idle is not None:
            self.library.llama_free(self._idle[1])
            self._idle = None


class Context:
    """A batch in llama.cpp: runs tokens, keeps their keys and values; given back with the object.

    `length` is the most tokens per row, `outputs` the most logits asked for at once.
    """

    def __init__(self, contexts: Contexts, vocabulary: int, rows: int, length: int, outputs: int) -> None:
        self.rows = rows
        self.vocabulary = vocabulary
        self._library = contexts.library
        room = Room(rows, -(-length // CELLS) * CELLS, outputs)
        self._pointer = contexts.take(room)
        self._batch = self._library.llama_batch_init(CHUNK, 0, 1)
        weakref.finalize(self, contexts.give_back, room, self._pointer)
        weakref.finalize(self, self._library.llama_batch_free, self._batch)

    def run(self, tokens: list[Token]) -> Floats:
        """Logits of the tokens that want them, of shape [wanted, vocabulary]; a copy."""
        batch = self._batch
        batch.n_tokens = len(tokens)
        for index, token in enumerate(tokens):
            batch.token[index] = token.token
            batch.pos[index] = token.position
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = token.row
            batch.logits[index] = token.wanted
        code = self._library.llama_decode(self._pointer, batch)
        if code != 0:
            raise StageError(f"llama.cpp did not run the tokens (code {code}).", hint="see the log")
        wanted = sum(token.wanted for token in tokens)
        if not wanted:
            return np.empty((0, self.vocabulary), np.float32)
        values = self._library.llama_get_logits(self._pointer)
        return np.array(np.ctypeslib.as_array(values, (wanted, self.vocabulary)))

    def state_bytes(self) -> int:
        """Bytes of the keys and values of all rows, with a few for the place of each token."""
        size = self._library.llama_state_seq_get_size
        return sum(int(size(self._pointer, row)) for row in range(self.rows))
