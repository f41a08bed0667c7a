"""The worker's entry point: `python -m modelwright.process.child MESSAGES_FD`."""

from __future__ import annotations

import contextlib
import errno
import importlib
import json
import logging
import os
import sys
import time
import traceback
from typing import Any

from modelwright.errors import ModelwrightError, StageError
from modelwright.process.channel import Channel
from modelwright.process.memory import peak_rss


def main() -> None:
    """Read a job from standard input, run its handler, report how it ended."""
    messages = os.fdopen(int(sys.argv[1]), "w", encoding="utf-8")
    job = json.loads(sys.stdin.readline())
    channel = Channel(messages)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    started = time.perf_counter()
    try:
        module, _, name = job["handler"].partition(":")
        result: Any = getattr(importlib.import_module(module), name)(job["payload"], channel)
        seconds = time.perf_counter() - started
        channel.send("done", result=result, peak_memory=peak_rss(), seconds=seconds)
    except ModelwrightError as error:
        channel.send("error", expected=error.to_dict())
        _log_traceback()
    except OSError as error:
        channel.send("error", **_of_os_error(error))
        _log_traceback()
    except BaseException:  # the one boundary that marks a job failed; the parent raises what it is told
        channel.send("error", traceback=traceback.format_exc())
        _log_traceback()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    # Native thread pools may hang or crash while they are torn down; the result is already out.
    os._exit(0)


def _log_traceback() -> None:
    """Write the traceback to the log, which may lie on a disk that is full."""
    with contextlib.suppress(OSError):
        traceback.print_exc()


def _of_os_error(error: OSError) -> dict[str, Any]:
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return {"traceback": traceback.format_exc()}
    expected = StageError(
        f"Cannot write the result: {error.strerror}.",
        where=str(error.filename or "the store"),
        hint="make room, or point MODELWRIGHT_STORE at a larger disk; the run resumes at this step",
    )
    return {"expected": expected.to_dict()}


if __name__ == "__main__":
    main()
