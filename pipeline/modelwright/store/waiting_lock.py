"""A lock on a file that says when it has to be waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from modelwright.store.atomic import disk_errors


@contextmanager
def waiting_lock(file: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a lock; `on_wait` is called when another process holds it and we have to wait."""
    lock = FileLock(file)
    with disk_errors(file.parent, "lock the folder"):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            on_wait()
            lock.acquire()
    try:
        yield
    finally:
        lock.release()
