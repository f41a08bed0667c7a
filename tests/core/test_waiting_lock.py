from __future__ import annotations

import threading
from pathlib import Path

from modelwright.store.waiting_lock import waiting_lock


def test_whoever_has_to_wait_for_a_lock_is_told(tmp_path: Path) -> None:
    waiting, inside, order = threading.Event(), threading.Event(), []

    def second() -> None:
        inside.wait(10)
        with waiting_lock(tmp_path / "lock", waiting.set):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with waiting_lock(tmp_path / "lock"):
        inside.set()
        assert waiting.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
