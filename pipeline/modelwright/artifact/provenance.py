"""provenance.json: an in-toto Statement with an SLSA v1 provenance predicate.

Sources: in-toto Attestation Framework, Statement v1; SLSA Provenance v1.
"""

from __future__ import annotations

from typing import Any

from modelwright.artifact.manifest import Manifest

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:modelwright:run:1"


def provenance(manifest: Manifest, recipe: dict[str, Any], started: str, finished: str) -> dict[str, Any]:
    """The statement: model files as subjects, recipe as parameters, input model and data as dependencies."""
    dependencies = [
        {
            "name": "model",
            "uri": str(manifest.source["path"]),
            "digest": {"sha256": manifest.source["digest"]},
        },
        *({"name": f"data/{name}", "digest": {"sha256": digest}} for name, digest in manifest.data.items()),
        *({"name": name, "annotations": {"version": version}} for name, version in manifest.software.items()),
    ]
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": name, "digest": {"sha256": facts.sha256}}
            for name, facts in manifest.files.items()
            if name.startswith("model/")
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"recipe": recipe},
                "internalParameters": {
                    "recipeDigest": manifest.recipe_digest,
                    "steps": [step.model_dump(mode="json") for step in manifest.steps],
                },
                "resolvedDependencies": dependencies,
            },
            "runDetails": {
                "builder": {"id": BUILD_TYPE, "version": manifest.software},
                "metadata": {
                    "invocationId": manifest.run_id,
                    "startedOn": started,
                    "finishedOn": finished,
                },
            },
        },
    }
