"""Which split a record belongs to: decided by its own content, so that splits never overlap.

>>> cut([Candidate({"text": "one"}), Candidate({"text": "two"})], Shares()).records["train"]

The place of a record is the SHA-256 of its normalized text read as a number between 0 and 1. It depends on
nothing else: identical texts share a split, and a record stays where it is when others are added.
"""

from __future__ import annotations

import hashlib
import logging
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, model_validator

from modelwright.api.dataset import SPLITS, Record, Split
from modelwright.errors import RecipeError

log = logging.getLogger(__name__)

# Enters the digest of every data set: raise it when a change here moves records between splits.
SPLITTING = 1

ALIASES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "calibration": "calibration",
    "calib": "calibration",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


class Shares(BaseModel):
    """How the records are shared out; only the proportions count.

    >>> Shares(train=0, calibration=1, validation=1, test=2)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: float = Field(default=0.5, ge=0, allow_inf_nan=False, description="Share of the split train.")
    calibration: float = Field(
        default=0.1, ge=0, allow_inf_nan=False, description="Share of the split calibration."
    )
    validation: float = Field(
        default=0.1, ge=0, allow_inf_nan=False, description="Share of the split validation."
    )
    test: float = Field(default=0.3, ge=0, allow_inf_nan=False, description="Share of the split test.")

    @model_validator(mode="after")
    def _not_all_zero(self) -> Shares:
        if not sum(self.of(split) for split in SPLITS):
            raise ValueError("at least one share must be above 0")
        return self

    def of(self, split: Split) -> float:
        """The share of one split."""
        share: float = getattr(self, split)
        return share


@dataclass(frozen=True)
class Candidate:
    """A record before it is given a split.

    Records of the same `group` (a file) stay together. `split` is the one the data itself names.
    """

    record: Record
    group: str | None = None
    split: Split | None = None


@dataclass(frozen=True)
class Cut:
    """Records by split. `duplicates` were in the same split already, `overlaps` in an earlier split."""

    records: dict[Split, list[Record]]
    duplicates: int
    overlaps: int

    def take(self, split: Split, limit: int | None, where: str, hint: str | None = None) -> list[Record]:
        """The records of one split, at most `limit`. Raises RecipeError when there are none."""
        if not self.records[split]:
            counts = ", ".join(f"{name} {len(self.records[name])}" for name in SPLITS)
            total = sum(map(len, self.records.values()))
            raise RecipeError(
                f"The split '{split}' is empty. Records in all: {total} ({counts}).",
                where=where,
                hint=hint or f"add records, or raise the share of '{split}': shares.{split}=…",
            )
        return self.records[split][:limit]


def normalize(text: str) -> str:
    """A text with runs of white space as one space, case folded, in Unicode's composed form."""
    return unicodedata.normalize("NFC", " ".join(text.split()).casefold())


def identity(record: Record) -> str:
    """SHA-256 of all that a record says, its label apart."""
    parts = [record.get("query", ""), record.get("passage", ""), record.get("text", "")]
    return hashlib.sha256("\0".join(map(normalize, parts)).encode()).hexdigest()


def _place(text: str) -> float:
    return int(hashlib.sha256(text.encode()).hexdigest()[:13], 16) / 16**13


def _split_at(place: float, splits: tuple[Split, ...], shares: Shares) -> Split:
    total = sum(shares.of(split) for split in splits)
    reached = 0.0
    for split in splits:
        reached += shares.of(split) / total
        if place < reached:
            return split
    return [split for split in splits if shares.of(split)][-1]


def cut(candidates: Iterable[Candidate], shares: Shares) -> Cut:
    """Give every record its split; each split is ordered by content, so that its head is a fair sample.

    Splits that the data names itself are kept; those that it lacks are cut from its train split in
    proportion to `shares`. A text that is in two splits is dropped from the later one.
    """
    candidates = list(candidates)
    named = {candidate.split for candidate in candidates if candidate.split}
    lacking = tuple(split for split in SPLITS if split == "train" or split not in named)
    if not any(shares.of(split) for split in lacking):
        lacking = ("train",)
    kept: dict[Split, dict[str, Record]] = {split: {} for split in SPLITS}
    duplicates = 0
    for candidate in candidates:
        record, split = candidate.record, candidate.split
        if split in (None, "train"):
            # Queries on one passage share a split, or the test would search among passages seen before.
            own = record.get("passage") or record.get("text") or record.get("query", "")
            place = _place(normalize(own) if candidate.group is None else candidate.group)
            split = _split_at(place, lacking, shares) if lacking != ("train",) else "train"
        assert split is not None
        key = identity(record)
        duplicates += key in kept[split]
        kept[split].setdefault(key, record)
    overlaps = 0
    seen: set[str] = set()
    for split in SPLITS:
        repeated = seen & kept[split].keys()
        for key in repeated:
            del kept[split][key]
        if repeated:
            log.warning("records of '%s' left out, as an earlier split has them: %d", split, len(repeated))
        overlaps += len(repeated)
        seen |= kept[split].keys()
    records = {split: [kept[split][key] for key in sorted(kept[split])] for split in SPLITS}
    return Cut(records, duplicates, overlaps)


def split_named(value: str, where: str) -> Split:
    """The split that data calls `value` (`dev` is validation). Raises RecipeError on any other word."""
    split = ALIASES.get(value.strip().casefold())
    if split is None:
        raise RecipeError(
            f"'{value}' is not a split.",
            where=where,
            accepted=", ".join(ALIASES),
            hint="rename it, or name another column with `split`",
        )
    return split
