"""The training loop."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from modelwright.digest import digest_json
from modelwright.errors import StageError
from modelwright_plugins.training.batches import BatchOrder, by_length
from modelwright_plugins.training.checkpoint import Checkpoints, Tensors
from modelwright_plugins.training.context import TrainingContext
from modelwright_plugins.training.example import Examples
from modelwright_plugins.training.history import Evaluation, History
from modelwright_plugins.training.hook import Hook
from modelwright_plugins.training.objective import Objective
from modelwright_plugins.training.optimizer import load_optimizer, make_optimizer, optimizer_tensors
from modelwright_plugins.training.schedule import learning_rate_factor

if TYPE_CHECKING:
    from accelerate import Accelerator

    from modelwright_plugins.training.stage import TrainingStage

LOG_EVERY_SECONDS = 30.0


class Loop:
    """Trains an objective's parameters in place, in this process or, by accelerate, in several.

    >>> Loop(stage, objective, examples, ctx, accelerator, hooks=[ZeroMasks(objective.student)]).run()

    Goes on from the last checkpoint in `ctx.checkpoint_dir`, to the same bytes as without a break. The
    batch of a step is shared out over processes and pieces, and each example counts as if it were one batch.
    Raises StageError when the loss or its gradient is not finite: at that step, before the weights are
    changed.
    """

    def __init__(
        self,
        stage: TrainingStage,
        objective: Objective,
        examples: Examples,
        ctx: TrainingContext,
        accelerator: Accelerator,
        hooks: Sequence[Hook] = (),
    ) -> None:
        self.objective = objective
        self.history = History(best_from=stage.best_from())
        self._stage, self._examples, self._ctx, self._hooks = stage, examples, ctx, hooks
        self._accelerator = accelerator
        lengths = [len(example.tokens) for example in examples.train]
        self._order = BatchOrder(lengths, stage.batch_size, ctx.seed)
        self.steps = stage.planned_steps(examples, ctx)
        self._parameters = {
            name: parameter for name, parameter in objective.named_parameters() if parameter.requires_grad
        }
        self._checkpoints = Checkpoints(ctx.checkpoint_dir)
        self._optimizer = make_optimizer(self._parameters, stage.learning_rate, stage.weight_decay)
        self._began = time.monotonic()
        self._logged = 0.0

    def run(self) -> History:
        """Train to the end; the objective then holds the weights that are kept."""
        model, optimizer = self._accelerator.prepare(self.objective, self._optimizer)
        if not self._resume():
            for hook in self._hooks:
                hook.after_step(0)
        self._began = time.monotonic() - self.history.seconds
        while self.history.step < self.steps and not self._out_of_patience():
            self._step(model, optimizer)
            done = self.history.step
            for hook in self._hooks:
                hook.after_step(done)
            if self._examples.held_out and (done % self._stage.evaluate_every == 0 or done == self.steps):
                self._evaluate()
            if done % self._stage.checkpoint_every == 0:
                self._save()
            self._tell()
        kept = self._keep_best()
        self.history.seconds = time.monotonic() - self._began
        if self._accelerator.is_main_process:
            self.history.record(self._ctx, self.steps, kept)
            for hook in self._hooks:
                hook.record(self._ctx)
        return self.history

    def _step(self, model: torch.nn.Module, optimizer: Any) -> None:
        """One optimizer step."""
        step = self.history.step
        accelerator, pieces = self._accelerator, self._stage.accumulate
        batch = [self._examples.train[index] for index in self._order.batch(step)]
        whole = sum(map(self.objective.weight, batch))
        own = batch[accelerator.process_index :: accelerator.num_processes]
        _seed(self._ctx.seed, step, accelerator.process_index)
        loss = torch.zeros((), device=accelerator.device)
        for number in range(pieces):
            piece = own[number::pieces]
            # Gradients are averaged over processes, so that each counts by its share of the whole batch.
            share = sum(map(self.objective.weight, piece)) * accelerator.num_processes / whole
            last = number == pieces - 1
            with contextlib.nullcontext() if last else accelerator.no_sync(model):
                part = model(piece) * share
                accelerator.backward(part)
            loss += part.detach()
        value = float(accelerator.reduce(loss, "mean"))
        self._require_finite("loss", value, step + 1)
        norm = accelerator.clip_grad_norm_([*self._parameters.values()], self._stage.clip or math.inf)
        self._require_finite("gradient", float(norm), step + 1)
        factor = learning_rate_factor(step, self.steps, self._stage.warmup, self._stage.schedule)
        for group in optimizer.param_groups:
            group["lr"] = self._stage.learning_rate * factor
        optimizer.step()
        optimizer.zero_grad()
        self.history.losses.append(value)

    def _evaluate(self) -> None:
        """The loss on what is held out; its weights are kept where it is the lowest so far."""
        held, step = self._examples.held_out, self.history.step
        batches = by_length([len(example.tokens) for example in held], self._stage.batch_size)
        training = self.objective.training
        self.objective.eval()
        sums = torch.zeros(2, dtype=torch.float64, device=self._accelerator.device)
        with torch.no_grad():
            for batch in batches[self._accelerator.process_index :: self._accelerator.num_processes]:
                examples = [held[index] for index in batch]
                weight = sum(map(self.objective.weight, examples))
                sums += sums.new_tensor([float(self.objective(examples)) * weight, weight])
        self.objective.train(training)
        total, weights = self._accelerator.reduce(sums, "sum").tolist()
        self._require_finite("loss on held-out examples", total, step)
        found = Evaluation(step=step, loss=total / weights)
        self.history.evaluations.append(found)
        if self.history.best is found and self._stage.keep == "best" and self._accelerator.is_main_process:
            self._checkpoints.save_best(self._weights(), step)

    def _out_of_patience(self) -> bool:
        patience = self._stage.patience
        return patience is not None and self.history.waited() >= patience

    def _weights(self) -> Tensors:
        return {name: parameter.detach().cpu() for name, parameter in self._parameters.items()}

    def _save(self) -> None:
        self.history.seconds = time.monotonic() - self._began
        if self._accelerator.is_main_process:
            tensors = {f"weight.{name}": tensor for name, tensor in self._weights().items()}
            for name, tensor in optimizer_tensors(self._optimizer).items():
                tensors[f"optimizer.{name}"] = tensor
            for number, hook in enumerate(self._hooks):
                for name, tensor in hook.state_dict().items():
                    tensors[f"hook.{number}.{name}"] = tensor
            self._checkpoints.save(tensors, self.history)
        self._accelerator.wait_for_everyone()

    def _resume(self) -> bool:
        """Go on from the last checkpoint; whether there is one."""
        from accelerate.utils import broadcast_object_list

        # The first process decides for all.
        [checkpoint] = broadcast_object_list([self._sound() if self._accelerator.is_main_process else None])
        if checkpoint is None:
            return False
        tensors, self.history = self._checkpoints.load(checkpoint)
        self._load(_under("weight.", tensors))
        load_optimizer(self._optimizer, _under("optimizer.", tensors))
        for number, hook in enumerate(self._hooks):
            hook.load_state_dict(_under(f"hook.{number}.", tensors))
        self._ctx.log.info("resumed after step %d of %d", self.history.step, self.steps)
        return True

    def _sound(self) -> Path | None:
        """The last checkpoint; where it was damaged all are removed, and training starts again."""
        checkpoint = self._checkpoints.last()
        if checkpoint is None:
            return None
        damaged = self._checkpoints.damage(checkpoint, with_best=self._stage.keep == "best")
        if damaged is None:
            return checkpoint
        self._ctx.log.warning("%s was damaged: training starts again", checkpoint.with_name(damaged))
        self._ctx.record("checkpoint_damaged", damaged)
        self._checkpoints.remove()
        return None

    def _load(self, weights: Tensors) -> None:
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(weights[name])

    def _keep_best(self) -> int:
        """Take back the best weights where those are asked for; the step that they are of."""
        best = self.history.best
        if best is None or self._stage.keep == "last" or best.step == self.history.step:
            return self.history.step
        self._accelerator.wait_for_everyone()
        self._load(self._checkpoints.load_best(best.step))
        return best.step

    def _require_finite(self, what: str, value: float, step: int) -> None:
        if math.isfinite(value):
            return
        last, every = self._checkpoints.last(), self._stage.checkpoint_every
        kept = f"is kept in {last}" if last else f"would have been that of step {every} (checkpoint_every)"
        raise StageError(
            f"The {what} became {value} at step {step} of {self.steps}; training stopped there.",
            where=self._ctx.where("learning_rate"),
            accepted="a loss and gradients that are finite at every step",
            hint=f"a lower learning_rate or a smaller clip; the last good checkpoint {kept}",
        )

    def _tell(self) -> None:
        if not self._accelerator.is_main_process:
            return
        done, last = self.history.step, self.history.losses[-1]
        held = f", held out {self.history.evaluations[-1].loss:.4f}" if self.history.evaluations else ""
        self._ctx.progress(done, self.steps, f"loss {last:.4f}{held}")
        spent = time.monotonic() - self._began
        if spent - self._logged >= LOG_EVERY_SECONDS:
            self._logged = spent
            left = spent / done * (self.steps - done)
            self._ctx.log.info("step %d of %d, loss %.4f%s, %.0f s left", done, self.steps, last, held, left)


def _seed(seed: int, step: int, process: int) -> None:
    """Random numbers of a step (dropout): a function of these three."""
    torch.manual_seed(int(digest_json([seed, step, process])[:15], 16))


def _under(prefix: str, tensors: Tensors) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): found for name, found in tensors.items() if name.startswith(prefix)}
