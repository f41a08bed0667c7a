"""Perplexity of a language model on the test split of Python's documentation, which calibrated nothing."""

from __future__ import annotations

from modelwright.api.metric import MetricContext, Observation
from modelwright.api.model import Model
from modelwright.api.target import Target
from modelwright.registry import Registry
from modelwright_plugins.dataset.python_docs import PythonDocs
from modelwright_plugins.metric.perplexity import Perplexity

DOCS = {"use": "python-docs", "form": "text"}
METRIC = Perplexity(data="docs", length=512, stride=256, tokens=60_000)


def observe(model: Model) -> Observation:
    """The losses on the test split, in the model's own runtime."""
    records = PythonDocs(form="text").load("test")
    form = Registry.load().formats[model.spec.format]()
    target = Target().resolved()
    context = MetricContext(target, 0, form, {("docs", "test"): records})
    return next(iter(METRIC.observe(model, form.runner(model, target), context)))
