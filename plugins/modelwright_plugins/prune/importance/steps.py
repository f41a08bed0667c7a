"""Runs a network over calibration data, batch by batch."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from modelwright.api.context import StageContext
from modelwright.api.dataset import Record, Split, text_of
from modelwright.api.model import Model
from modelwright.api.runner import Inputs
from modelwright.errors import RecipeError
from modelwright_plugins.blockwise.feed import fed
from modelwright_plugins.text.calibration import calibration_batches
from modelwright_plugins.text.tokenize import TextTokenizer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    # Runs the network on one batch; the loss, where there is one to have.
    Step = Callable[[], "torch.Tensor | None"]

# Activations of all layers are held for the gradient: pairs of a batch, and tokens that texts are cut at.
PAIRS, PAIR_TOKENS = 16, 256
# Cosines are multiplied by this before the softmax over passages, as sentence-transformers does.
SCALE = 20.0


class Calibration(NamedTuple):
    """What to calibrate on: up to `samples` pieces of a split, or windows of `length` tokens of it."""

    data: str
    split: Split
    samples: int
    length: int


def forward_steps(
    network: PreTrainedModel, model: Model, ctx: StageContext, calibration: Calibration
) -> list[Step]:
    """A run of the network without its head on each calibration batch."""
    batches = calibration_batches(model, ctx, *calibration)
    return [partial(_forward, network, batch) for batch in batches]


def loss_steps(
    network: PreTrainedModel, model: Model, ctx: StageContext, calibration: Calibration
) -> list[Step]:
    """A run on each calibration batch that gives the loss of the model's task.

    For a model that generates that of the next token; for a classifier that of the label, or of the label it
    gives where a record has none; for an encoder that of finding each query's passage among those of the
    batch. Raises RecipeError where an encoder's data have no queries and passages.
    """
    if model.spec.task == "generate":
        windows = calibration_batches(model, ctx, *calibration)
        return [partial(_next_token_loss, network, window) for window in windows]
    data, split, samples, _ = calibration
    records = [*ctx.data(data, split)]
    if model.spec.task == "embed":
        records = [record for record in records if record.get("query") and record.get("passage")]
    else:
        records = [record for record in records if text_of(record)]
    if len(records) < (2 if model.spec.task == "embed" else 1):
        wanted = "queries with passages" if model.spec.task == "embed" else "texts"
        raise RecipeError(
            f"The {split} split of '{data}' has no {wanted}, which the loss of task {model.spec.task} is of.",
            where=ctx.where("data"),
            hint="use a data set that has them, or importance=activation, which needs texts alone",
        )
    chosen = random.Random(ctx.seed).sample(records, min(samples, len(records)))
    if model.spec.task == "classify":
        tokenizer = TextTokenizer(model.path, model.spec.max_length)
        return [partial(_label_loss, network, model, tokenizer, record) for record in chosen]
    tokenizer = TextTokenizer(model.path, min(PAIR_TOKENS, model.spec.max_length))
    starts = range(0, len(chosen) - 1, PAIRS)  # one pair alone has nothing to be told from
    batches = [chosen[start : start + PAIRS] for start in starts]
    return [partial(_pairs_loss, network, model, tokenizer, batch) for batch in batches]


def _forward(network: PreTrainedModel, batch: Inputs) -> None:
    network.base_model(**fed(network.base_model, batch))


def _next_token_loss(network: PreTrainedModel, batch: Inputs) -> torch.Tensor:
    inputs = fed(network, batch)
    loss: torch.Tensor = network(**inputs, labels=inputs["input_ids"]).loss
    return loss


def _label_loss(
    network: PreTrainedModel, model: Model, tokenizer: TextTokenizer, record: Record
) -> torch.Tensor:
    import torch

    logits = network(**fed(network, tokenizer([text_of(record)]))).logits.float()
    labels = model.spec.labels
    known = record.get("label") in labels
    label = labels.index(record["label"]) if known else int(logits.argmax())
    return torch.nn.functional.cross_entropy(logits, torch.tensor([label], device=logits.device))


def _pairs_loss(
    network: PreTrainedModel, model: Model, tokenizer: TextTokenizer, records: Sequence[Record]
) -> torch.Tensor:
    import torch
    from torch.nn.functional import cross_entropy, normalize

    from modelwright_plugins.text.torch_pooling import pooled

    def embedded(texts: list[str]) -> torch.Tensor:
        batch = tokenizer(texts)
        mask = torch.from_numpy(batch["attention_mask"]).to(network.device)
        return normalize(pooled(network(**fed(network, batch)).last_hidden_state, mask, model.spec), dim=-1)

    queries = embedded([record["query"] for record in records])
    passages = embedded([record["passage"] for record in records])
    scores = SCALE * queries @ passages.T
    return cross_entropy(scores, torch.arange(len(records), device=scores.device))
