"""The training: AdamW, products in bfloat16, one process of one thread per share of the batch.

On busy cores, threads that wait for each other in every operation cost most of the time; processes that
wait for each other once per step do not.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from benchmarks.reference.architecture import add_dropout, build
from benchmarks.reference.corpus import Ids, stream
from benchmarks.reference.evaluate import window_loss
from benchmarks.reference.progress import Progress
from benchmarks.reference.protocol import Protocol
from benchmarks.reference.schedule import batches, learning_rate

CHECKED_EVERY = 100


@dataclass(frozen=True)
class Shared:
    """Memory in which processes meet: a row of numbers from each, and a barrier."""

    rows: Any
    barrier: Any

    @classmethod
    def of(cls, protocol: Protocol, tokenizer: Tokenizer) -> Shared:
        """Room for the gradient of every weight and the loss."""
        import torch
        import torch.multiprocessing as processes

        size = sum(weight.numel() for weight in build(protocol, tokenizer).parameters()) + 1
        barrier = processes.get_context("spawn").Barrier(protocol.workers)
        rows: Any = torch.zeros(protocol.workers, size)
        return cls(rows.share_memory_(), barrier)

    def mean(self, own: Any, rank: int) -> Any:
        """The mean of what each process brings."""
        self.rows[rank] = own
        self.barrier.wait()
        mean = self.rows.mean(0)
        self.barrier.wait()
        return mean


def train(
    protocol: Protocol, tokenizer: Tokenizer, rows: Sequence[Ids], held_out: Sequence[Ids], folder: Path
) -> tuple[Any, list[dict[str, float]]]:
    """The model with the lowest loss on `held_out`, and the curve that was seen on the way.

    `folder` keeps the state of an interrupted training; that of another protocol is refused with ValueError.
    """
    from torch.multiprocessing.spawn import spawn

    if Progress.of(folder, protocol).step < protocol.steps:
        shared = Shared.of(protocol, tokenizer)
        inputs = (protocol, tokenizer, list(rows), list(held_out), folder, shared)
        start: Any = spawn
        start(work, inputs, nprocs=protocol.workers)
    progress = Progress.of(folder, protocol)
    model = build(protocol, tokenizer)
    model.load_state_dict(progress.best)
    return model.eval(), progress.curve


def work(
    rank: int,
    protocol: Protocol,
    tokenizer: Tokenizer,
    rows: Sequence[Ids],
    held_out: Sequence[Ids],
    folder: Path,
    shared: Shared,
) -> None:
    """One of the processes; the first judges and keeps what is reached."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(protocol.seed)
    model = build(protocol, tokenizer)
    add_dropout(model, protocol.dropout)
    optimizer = optimizer_for(model, protocol)
    progress = Progress.of(folder, protocol)
    progress.restore(model, optimizer)
    validation = stream(tokenizer, held_out)
    began, losses = time.perf_counter() - progress.spent, []
    for step, batch in enumerate(batches(protocol, tokenizer, rows, progress.step), progress.step):
        # What is dropped follows from the step and the process, in a training that was interrupted too.
        torch.manual_seed((protocol.seed * 1_000_003 + step) * protocol.workers + rank)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(protocol, step)
        ids = torch.from_numpy(batch[rank :: protocol.workers])
        losses.append(advance(model, optimizer, ids, protocol.clip, shared, rank))
        if (step + 1) % CHECKED_EVERY and step + 1 < protocol.steps:
            continue
        if rank == 0:
            point = {
                "step": step + 1,
                "train": sum(losses) / len(losses),
                "validation": window_loss(model, validation, batch.shape[1]),
                "s": time.perf_counter() - began,
            }
            progress.keep(point, model, optimizer)
            print({key: round(value, 4) for key, value in point.items()}, flush=True)
        losses = []


def advance(model: Any, optimizer: Any, ids: Any, clip: float, shared: Shared, rank: int) -> float:
    """One step on this process's share of the batch; returns the loss of the whole batch."""
    import torch

    model.train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    weights = list(model.parameters())
    own = torch.cat([*(weight.grad.flatten() for weight in weights), loss.detach()[None]])
    mean = shared.mean(own, rank)
    sizes = [weight.numel() for weight in weights]
    for weight, part in zip(weights, mean[:-1].split(sizes), strict=True):
        weight.grad = part.view_as(weight)
    torch.nn.utils.clip_grad_norm_(weights, clip)
    optimizer.step()
    return float(mean[-1])


def optimizer_for(model: Any, protocol: Protocol) -> Any:
    """AdamW (Loshchilov & Hutter 2019) that decays matrices and spares the norms' gains."""
    import torch

    matrices: list[Any] = [weight for weight in model.parameters() if weight.ndim > 1]
    gains: list[Any] = [weight for weight in model.parameters() if weight.ndim < 2]
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": gains, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        groups, lr=0.0, betas=protocol.betas, weight_decay=protocol.weight_decay, fused=True
    )
