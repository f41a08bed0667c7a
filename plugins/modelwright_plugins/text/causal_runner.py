"""The runner of a causal language model, but for its forward pass and its cache."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from modelwright.api.model import GenerationSpec, Model
from modelwright.api.runner import Decoder, Floats, Inputs, Tokens
from modelwright.errors import RecipeError, StageError
from modelwright_plugins.text.finite import require_finite
from modelwright_plugins.text.prompts import PromptTokenizer
from modelwright_plugins.text.sampling import Sampler


class CausalRunner(ABC):
    """Tokenizes, pads on the left, generates; a format's runner adds `all_logits`, `start` and
    `describe`, and says in `cache_item_bytes` how large a number in its cache is.

    >>> runner.generate(["def add(a, b):"], max_new_tokens=32)
    """

    max_batch: int | None = None
    cache_item_bytes: float | None = 4

    def __init__(self, model: Model) -> None:
        self.spec = model.spec
        self.generation: GenerationSpec = _generation(model)
        self.prompts = PromptTokenizer(model.path, self.generation)

    @abstractmethod
    def all_logits(self, inputs: Inputs) -> Floats:
        """Logits at every position of inputs that fit the context."""

    @abstractmethod
    def start(self, inputs: Inputs, new_tokens: int) -> Decoder:
        """Run the prompts with room for `new_tokens` more; begins with `check_room`."""

    @abstractmethod
    def describe(self) -> dict[str, str]:
        """What really runs."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, in full length."""
        return self.prompts.encode(texts)

    def batch(self, rows: Sequence[Sequence[int]]) -> Inputs:
        """Inputs of shape [batch, longest row], padded on the left."""
        return self.prompts.batch(rows)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids."""
        return self.prompts.decode(tokens)

    def logits(self, inputs: Inputs) -> Floats:
        """Logits at every position, of shape [batch, length, vocabulary].

        Raises RecipeError for inputs beyond the context, StageError when the model's vocabulary is another.
        """
        self.check_room(inputs, 0)
        return self._as_wide_as_described(self.all_logits(inputs))

    def sample(self, batch: int, length: int, seed: int = 0) -> Inputs:
        """Random token ids of shape [batch, length]."""
        return self.prompts.sample(batch, length, seed)

    def infer(self, inputs: Inputs) -> Floats:
        """Logits of the token that comes next, of shape [batch, vocabulary]."""
        return self._as_wide_as_described(np.array(self.start(inputs, 0).logits, dtype=np.float32))

    def run(self, texts: Sequence[str], batch_size: int = 32) -> Floats:
        """Logits of what comes next, in the order of `texts`; of a long text the last part is read.

        Raises StageError when a row holds NaN or infinity, which no metric could judge.
        """
        rows = [row[-self.spec.max_length :] for row in self.encode(texts)]
        order = np.argsort([len(row) for row in rows], kind="stable")
        size = min(batch_size, self.max_batch or batch_size)
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        result = np.empty((len(rows), self.generation.vocabulary), np.float32)
        for chosen in batches:
            result[chosen] = self.infer(self.batch([rows[i] for i in chosen]))
        require_finite(result, self.spec.format, self.spec.dtype)
        return result

    def loss(self, inputs: Inputs) -> Floats:
        """Negative log-likelihood in nats of each token but the first, of shape [batch, length - 1]."""
        logits, following = self.logits(inputs)[:, :-1], inputs["input_ids"][:, 1:]
        largest = logits.max(axis=-1)
        total = np.exp(logits - largest[..., None]).sum(axis=-1, dtype=np.float64)
        chosen = np.take_along_axis(logits, following[..., None], axis=-1)[..., 0]
        loss = np.log(total) + largest - chosen
        return (loss * inputs["attention_mask"][:, :-1]).astype(np.float32)

    def generate(
        self,
        texts: Sequence[str],
        max_new_tokens: int = 64,
        *,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float = 1.0,
        seed: int = 0,
        use_cache: bool = True,
    ) -> list[str]:
        """Continue each text until it ends or `max_new_tokens` are there; what was added, as text.

        `temperature`, `top_k` and `top_p` are those of `Sampler`. Without `use_cache` every token runs the
        whole text again. Raises RecipeError when prompt and new tokens are longer than the context.
        """
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise RecipeError("generate takes a list of texts.", accepted='["a text", "another"]')
        if max_new_tokens < 1:
            raise RecipeError(f"max_new_tokens is {max_new_tokens}.", accepted="1 or more")
        sampler = Sampler(temperature, top_k, top_p, seed)
        rows = self.encode(texts)
        size = self.max_batch or max(len(rows), 1)
        added: list[list[int]] = []
        for start in range(0, len(rows), size):
            inputs = self.batch(rows[start : start + size])
            added += self._continue(inputs, max_new_tokens, sampler, use_cache=use_cache)
        return [self.decode(row) for row in added]

    def check_room(self, inputs: Inputs, new_tokens: int) -> None:
        """Raise RecipeError when a batch is too large, or longer than the context with its new tokens."""
        batch, length = inputs["input_ids"].shape
        if length + new_tokens > self.spec.max_length:
            raise RecipeError(
                f"The prompt has {length:,} tokens and {new_tokens:,} are to be added; the context of the "
                f"model is {self.spec.max_length:,}.",
                where=f"the {self.spec.format} model",
                accepted=f"{self.spec.max_length:,} tokens in all",
                hint="shorten the prompt, or ask for fewer new tokens",
            )
        if self.max_batch is not None and batch > self.max_batch:
            raise RecipeError(
                f"The batch has {batch} rows, and this runtime takes {self.max_batch}.",
                where=f"the {self.spec.format} model",
                accepted=f"at most {self.max_batch}",
            )

    def _as_wide_as_described(self, logits: Floats) -> Floats:
        if logits.shape[-1] != self.generation.vocabulary:
            raise StageError(
                f"The model gives logits of {logits.shape[-1]:,} tokens, and its description says "
                f"{self.generation.vocabulary:,}.",
                where=f"the {self.spec.format} model, generation.vocabulary",
                accepted="a model and a description of the same vocabulary",
                hint="export the model again",
            )
        return logits

    def _continue(
        self, inputs: Inputs, new_tokens: int, sampler: Sampler, *, use_cache: bool
    ) -> list[list[int]]:
        start = self.start if use_cache else self._start_without_cache
        decoder = start(inputs, new_tokens)
        rows: list[list[int]] = [[] for _ in inputs["input_ids"]]
        open_rows = set(range(len(rows)))
        for step in range(new_tokens):
            tokens = sampler.choose(decoder.logits)
            for index in sorted(open_rows):
                if int(tokens[index]) in self.generation.end:
                    open_rows.discard(index)
                else:
                    rows[index].append(int(tokens[index]))
            if not open_rows or step == new_tokens - 1:
                break
            decoder.step(tokens)
        return rows

    def _start_without_cache(self, inputs: Inputs, new_tokens: int) -> Decoder:
        self.check_room(inputs, new_tokens)
        return Recomputing(self, inputs)


class Recomputing:
    """A Decoder that keeps no cache: each step runs the whole text again.

    >>> Recomputing(runner, inputs).step(tokens).shape      # as with a cache: [batch, vocabulary]
    """

    def __init__(self, runner: CausalRunner, inputs: Inputs) -> None:
        self._runner = runner
        self._inputs = dict(inputs)
        self.logits = runner.infer(inputs)

    def step(self, tokens: Tokens) -> Floats:
        """Append a token to each row and run all of it."""
        column = np.asarray(tokens, np.int64)[:, None]
        appended = {"input_ids": column, "attention_mask": np.ones_like(column)}
        self._inputs = {
            name: np.concatenate([array, appended[name]], axis=1) for name, array in self._inputs.items()
        }
        self.logits = self._runner.infer(self._inputs)
        return self.logits

    def cache_bytes(self) -> int | None:
        """Nothing is kept."""
        return 0


def _generation(model: Model) -> GenerationSpec:
    if model.spec.generation is None:
        raise RecipeError(
            "The model's description says nothing of how it generates.",
            where=str(model.path),
            accepted="a model of task 'generate' with 'generation' in its modelwright.json",
        )
    return model.spec.generation
