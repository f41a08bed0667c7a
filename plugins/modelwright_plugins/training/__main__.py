"""One process of a training: `accelerate launch … -m modelwright_plugins.training FOLDER`.

FOLDER is a job that `write_job` wrote, in a place that every machine reads under the same path. Any
launcher that sets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT does, `torchrun` too. The first
process writes the result.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from pathlib import Path

from modelwright.errors import ModelwrightError
from modelwright.registry import Registry
from modelwright_plugins.training.job import DONE, ERROR, JobContext
from modelwright_plugins.training.stage import TrainingStage

# Set by a parent that keeps standard input open for as long as it lives.
ENDS_WITH_PARENT = "MODELWRIGHT_ENDS_WITH_PARENT"


def main(folder: Path) -> int:
    """Take part in a job; the exit status."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    first = os.environ.get("RANK", "0") == "0"
    ctx = JobContext(folder, speaks=first)
    stage = Registry.load().stages.restore(ctx.job["stage"])
    assert isinstance(stage, TrainingStage), "only stages that train write jobs"
    try:
        stage.train(ctx.model, ctx)
    except ModelwrightError as error:
        if first:
            (folder / ERROR).write_text(json.dumps(error.to_dict()), encoding="utf-8")
        raise
    if first:
        (folder / DONE).write_text(json.dumps([ctx.records, ctx.changes]), encoding="utf-8")
    return 0


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    if ENDS_WITH_PARENT in os.environ:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.exit(main(Path(sys.argv[1])))
