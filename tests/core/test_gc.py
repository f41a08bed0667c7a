"""Tidying the store: what is used or being made stays, whatever else happens meanwhile."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from modelwright.api.model import ModelSpec
from modelwright.store.store import Store
from tests.core.bench import in_process

DAY = 86400
KEY = "a" * 64


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    store.prepare()
    return store


def add(store: Store, key: str, days_old: float) -> Path:
    """A finished step that was made so many days ago."""
    with store.lock(key), store.workspace(key) as folder:
        (folder / "model").mkdir()
        ModelSpec(format="bag", task="embed", architecture="Bag").write(folder / "model")
        store.seal(key, folder, {})
    final = store.root / "steps" / key
    made = time.time() - days_old * DAY
    os.utime(final, (made, made))
    return final


def test_what_was_made_long_ago_goes_and_the_rest_stays(store: Store):
    old, young = add(store, "a" * 64, 40), add(store, "b" * 64, 1)
    removed, freed = store.remove_unused(30)
    assert removed == 1
    assert freed > 0
    assert not old.exists()
    assert young.exists()


def test_a_step_in_use_is_not_old(store: Store):
    step = add(store, KEY, 40)
    assert store.find(KEY) is not None
    assert store.remove_unused(30)[0] == 0
    assert step.exists()


def test_evidence_in_use_is_not_old(store: Store):
    with store.keep_evidence(KEY) as folder:
        (folder / "facts.json").write_text("{}")
    os.utime(store.root / "evidence" / KEY, (0, 0))
    assert store.evidence(KEY) is not None
    assert store.remove_unused(30)[0] == 0


def test_what_a_run_is_making_stays(store: Store):
    with store.lock(KEY), store.workspace(KEY) as folder:
        assert store.remove_unused(0) == (0, 0)
        assert folder.is_dir()
    left = store.root / "tmp" / f"{KEY}.left"
    left.mkdir()
    assert store.remove_unused(0)[0] == 1
    assert not left.exists()


def test_the_lock_of_a_step_is_held_until_it_is_gone(store: Store, monkeypatch):
    add(store, KEY, 40)
    held = []
    remove = shutil.rmtree

    def watched(folder: Path, *args: object, **kwargs: object) -> None:
        def ask() -> None:  # in a thread: a lock of the same thread would be taken twice
            try:
                FileLock(store.root / "locks" / f"{KEY}.lock").acquire(timeout=0).lock.release()
            except Timeout:
                held.append(folder)

        asking = threading.Thread(target=ask)
        asking.start()
        asking.join()
        remove(folder)

    monkeypatch.setattr("modelwright.store.store.shutil.rmtree", watched)
    assert store.remove_unused(30)[0] == 1
    assert held == [store.root / "steps" / KEY]


def test_two_at_a_time_do_not_trip_over_each_other(store: Store):
    for index in range(60):
        add(store, f"{index:064x}", 40)
    counts: list[int] = []
    errors: list[BaseException] = []

    def collect() -> None:
        try:
            counts.append(store.remove_unused(30)[0])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=collect) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sum(counts) == 60
    assert not list((store.root / "steps").iterdir())


@pytest.mark.parametrize("age", ["-1", "nan", "soon"])
def test_an_age_that_is_none_is_refused(store: Store, capsys, age: str):
    step = add(store, KEY, 40)
    ended = in_process(capsys, "gc", "--store", str(store.root), "--older-than", age)
    assert ended.code == 2
    assert "is no number of at least 0" in ended.err
    assert step.exists()
