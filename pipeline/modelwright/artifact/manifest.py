"""manifest.json: what an artifact holds and what it was made from."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, JsonValue

SCHEMA_VERSION = 1


class Part(BaseModel):
    """Base of the manifest's parts."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FileFacts(Part):
    """One file: SHA-256 in hex and bytes."""

    sha256: str
    size: int


class StepLink(Part):
    """One link of the chain: the stage, what went in and what came out."""

    name: str
    stage: str
    distribution: str
    parameters: dict[str, JsonValue]
    key: str
    parent_digest: str
    digest: str


class Manifest(Part):
    """The machine-readable face of an artifact.

    `files` lists every other file of the artifact. `target` holds the thread and provider settings it was
    measured with, which are the defaults of `Artifact.runner`. `hardware` and `hardware_fingerprint` say
    where the evidence in the report comes from.
    """

    schema_version: int = SCHEMA_VERSION
    name: str
    version: int
    created: str
    run_id: str
    model_digest: str
    recipe_digest: str
    source: dict[str, JsonValue]
    data: dict[str, str]
    steps: list[StepLink]
    target: dict[str, JsonValue]
    hardware: dict[str, str]
    hardware_fingerprint: str
    software: dict[str, str]
    files: dict[str, FileFacts]


class Problem(NamedTuple):
    """Something wrong with an artifact: the file and what is the matter with it."""

    file: str
    what: str
