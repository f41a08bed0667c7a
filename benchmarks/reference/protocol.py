"""Every choice that the training depends on."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Phase:
    """Part of the training with sequences of one length."""

    steps: int
    batch: int
    length: int


@dataclass(frozen=True)
class Protocol:
    """Shape, data order and schedule. What is not here follows from the seed and the data set."""

    seed: int = 0
    vocabulary: int = 2048
    hidden: int = 192
    intermediate: int = 384
    layers: int = 5
    heads: int = 6
    kv_heads: int = 2
    context: int = 1024
    # Both as in the llama2.c runtimes, which have them built in.
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5
    deviation: float = 0.04
    phases: tuple[Phase, ...] = field(default=(Phase(3600, 4, 512), Phase(300, 2, 1024)))
    learning_rate: float = 2e-3
    warmup: int = 100
    decay: float = 0.3
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    dropout: float = 0.05
    # Processes that share a batch, with one thread each.
    workers: int = 2

    @property
    def steps(self) -> int:
        """Optimizer steps of all phases."""
        return sum(phase.steps for phase in self.phases)

    @property
    def tokens(self) -> int:
        """Tokens read in all phases, repetitions of the corpus included."""
        return sum(phase.steps * phase.batch * phase.length for phase in self.phases)
