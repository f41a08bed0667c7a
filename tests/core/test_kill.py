"""Killed runs resume; nothing is ever half-written; two runs share what either has made."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path

from tests.core.bench import Bench, start

STAGES = {name: {"use": "toy.scale", "factor": 1.0 + i, "seconds": 0.3} for i, name in enumerate("abc")}
KILLS = 20


def digests(bench: Bench) -> list[str]:
    manifest = bench.manifest(1)
    return [manifest["model_digest"], *(step["digest"] for step in manifest["steps"])]


def children_of(bench: Bench) -> list[int]:
    """Worker processes that still hold a file below the bench's folder open or run in it."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command = (place / "cmdline").read_bytes()
            if b"modelwright.process.child" in command and str((place / "cwd").resolve()) == str(bench.root):
                found.append(int(place.name))
        except OSError:
            continue
    return found


def test_a_run_killed_at_any_moment_resumes_to_the_same_artifact(tmp_path: Path):
    reference = Bench(tmp_path / "reference")
    reference.write(stages=STAGES)
    began = time.monotonic()
    assert reference.run().code == 0
    lasts = time.monotonic() - began
    expected = digests(reference)

    rng = random.Random(7)
    bench = Bench(tmp_path / "killed-0")
    bench.write(stages=STAGES)
    for number in range(KILLS):
        run = start(bench)
        try:
            run.communicate(timeout=rng.uniform(0.05, lasts))
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGKILL)
            run.communicate()
        assert bench.versions() in ([], [1])
        if bench.versions():  # it got to its end: nothing half-written, and begin anew
            assert bench.command("verify").code == 0
            assert digests(bench) == expected
            bench = Bench(tmp_path / f"killed-{number + 1}")
            bench.write(stages=STAGES)
    ended = bench.run()
    assert ended.code == 0, ended.err
    assert digests(bench) == expected
    assert bench.command("verify").code == 0
    assert not list((bench.artifacts / ".store" / "tmp").iterdir())
    assert not list((bench.artifacts / "toy" / ".incoming").iterdir())


def test_a_killed_run_leaves_no_worker_behind(tmp_path: Path):
    bench = Bench(tmp_path / "bench")
    bench.write(stages={"slow": {"use": "toy.scale", "seconds": 60.0}})
    run = start(bench)
    ends = time.monotonic() + 60
    while not children_of(bench) and time.monotonic() < ends:
        time.sleep(0.05)
    assert children_of(bench)
    run.kill()
    run.communicate()
    while children_of(bench) and time.monotonic() < ends:
        time.sleep(0.05)
    assert not children_of(bench)


def test_two_runs_at_once_make_nothing_twice(tmp_path: Path):
    bench = Bench(tmp_path / "bench")
    bench.write(stages=STAGES)
    runs = [start(bench), start(bench)]
    outputs = [run.communicate() for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    made = [name for out, _ in outputs for name in STAGES if f"{name}: done in" in out]
    assert sorted(made) == sorted(STAGES)
    assert bench.versions()[0] == 1
    assert {bench.manifest(version)["model_digest"] for version in bench.versions()} == {digests(bench)[0]}


def test_the_same_recipe_from_empty_stores_in_two_folders_gives_the_same_digests(tmp_path: Path):
    benches = [Bench(tmp_path / name) for name in ("one", "another place")]
    for bench in benches:
        assert bench.run().code == 0
    assert digests(benches[0]) == digests(benches[1])
