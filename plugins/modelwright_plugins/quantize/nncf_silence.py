"""Keeps NNCF off the terminal."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def nncf_logs_to(log: logging.Logger) -> Iterator[None]:
    """Send NNCF's messages to `log` while the block runs, and its progress bars nowhere.

    >>> with nncf_logs_to(ctx.log):
    ...     nncf.quantize(...)
    """
    import nncf

    logger = logging.getLogger("nncf")
    handlers, level = list(logger.handlers), logger.level
    forward = _Forward(log)
    logger.handlers = [forward]
    nncf.set_log_level(logging.INFO)
    try:
        # Its bars go to whatever standard output is when they are drawn; no option turns them off.
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.handlers = handlers
        logger.setLevel(level)


class _Forward(logging.Handler):
    def __init__(self, log: logging.Logger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.log(record.levelno, "nncf: %s", record.getMessage())
