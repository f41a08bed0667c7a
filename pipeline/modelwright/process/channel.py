"""The child's end of the pipe to its parent: JSON lines out, commands in."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from typing import Any, TextIO

PARENT_GONE = 113


class Channel:
    """Sends messages to the parent and waits for its commands; the process ends when the parent does."""

    def __init__(self, messages: TextIO) -> None:
        self._messages = messages
        self._commands: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def send(self, kind: str, **fields: Any) -> None:
        """Send one message."""
        self._messages.write(json.dumps({"kind": kind, **fields}) + "\n")
        self._messages.flush()

    def wait(self) -> str:
        """Block until the parent sends a command, and return it."""
        return self._commands.get()

    def _listen(self) -> None:
        for line in sys.stdin:
            self._commands.put(line.strip())
        # The parent closed the pipe or was killed: nobody waits for this job any more.
        os._exit(PARENT_GONE)
