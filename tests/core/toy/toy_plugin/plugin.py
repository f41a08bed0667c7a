"""Registers the toy format and stages."""

from modelwright import hookimpl
from toy_plugin import bag, stages


@hookimpl
def modelwright_formats():
    yield bag.Bag


@hookimpl
def modelwright_stages():
    yield from (
        stages.Scale,
        stages.Retrain,
        stages.Seal,
        stages.NeedsInt8,
        stages.Unseal,
        stages.Broken,
        stages.Rare,
    )
