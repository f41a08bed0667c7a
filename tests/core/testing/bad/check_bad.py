"""The conformance tests of the bad stages; run by test_conformance.py, which says how each has to end."""

import bad_heavy
import bad_stages

from modelwright.testing.conformance import StageConformance


class TestGood(StageConformance):
    stage = bad_stages.Good
    parameters = {"times": 2}  # noqa: RUF012


class TestParticular(StageConformance):
    stage = bad_stages.Particular
    before = {"first": {"use": "bad.good"}}  # noqa: RUF012


class TestLost(StageConformance):
    stage = bad_stages.Particular


class TestNeedy(StageConformance):
    stage = bad_stages.Needy


class TestForgetful(StageConformance):
    stage = bad_stages.Forgetful


class TestUnregistered(StageConformance):
    stage = bad_stages.Unregistered


class TestSilent(StageConformance):
    stage = bad_stages.Silent


class TestLenient(StageConformance):
    stage = bad_stages.Lenient


class TestChancy(StageConformance):
    stage = bad_stages.Chancy


class TestMeddler(StageConformance):
    stage = bad_stages.Meddler


class TestPickler(StageConformance):
    stage = bad_stages.Pickler


class TestBreaker(StageConformance):
    stage = bad_stages.Breaker


class TestHeavy(StageConformance):
    stage = bad_heavy.Heavy
