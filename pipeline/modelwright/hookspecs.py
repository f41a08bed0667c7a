"""The hooks a plugin may implement; each yields classes.

A complete plugin is a module named by an entry point of the group `modelwright`::

    from modelwright import hookimpl

    @hookimpl
    def modelwright_stages():
        yield MyStage
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from modelwright.api.dataset import Dataset
from modelwright.api.format import Format
from modelwright.api.metric import Metric
from modelwright.api.publisher import Publisher
from modelwright.api.stage import Stage

PROJECT = "modelwright"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


# Specifications alone: pluggy reads their signatures and never runs their bodies.


@hookspec
def modelwright_stages() -> Iterable[type[Stage]]:
    """Stages, by the name recipes `use`."""
    raise NotImplementedError


@hookspec
def modelwright_formats() -> Iterable[type[Format]]:
    """Model formats and their runners."""
    raise NotImplementedError


@hookspec
def modelwright_metrics() -> Iterable[type[Metric]]:
    """Metrics, by the name under `validate.metrics`."""
    raise NotImplementedError


@hookspec
def modelwright_datasets() -> Iterable[type[Dataset]]:
    """Data sets, by the name recipes `use`."""
    raise NotImplementedError


@hookspec
def modelwright_publishers() -> Iterable[type[Publisher]]:
    """Places an artifact can be released to."""
    raise NotImplementedError


@hookspec
def modelwright_config() -> Iterable[str]:
    """Folders of YAML to add to Hydra's search path, as `pkg://package` names."""
    raise NotImplementedError
