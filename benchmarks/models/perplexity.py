"""Perplexity of a language model on the test split of Python's documentation, which calibrated nothing."""

from __future__ import annotations

from benchmarks.models.observe import observe as observe_all
from modelwright.api.metric import Observation
from modelwright.api.model import Model
from modelwright_plugins.dataset.python_docs import PythonDocs
from modelwright_plugins.metric.perplexity import Perplexity

DOCS = {"use": "python-docs", "form": "text"}
METRIC = Perplexity(data="docs", length=512, stride=256, tokens=60_000)


def observe(model: Model) -> Observation:
    """The losses on the test split, in the model's own runtime."""
    [[observed]] = observe_all(METRIC, [model], {"docs": PythonDocs(form="text")})
    return observed
