"""What the output of a graph is called that a task needs, as transformers calls it."""

from __future__ import annotations

from modelwright.api.model import Task

OUTPUTS: dict[Task, str] = {"embed": "last_hidden_state", "classify": "logits", "generate": "logits"}
