"""Text that every Python has: the standard library's docstrings and the language reference."""

from __future__ import annotations

import json
import logging
import os
import platform
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from modelwright.api.dataset import Dataset, Record, Split
from modelwright.digest import digest_json
from modelwright.errors import MissingError
from modelwright_plugins.dataset.docstrings import Pair, docstring_pairs, topic_pairs
from modelwright_plugins.dataset.documents import docstrings, topic_sections
from modelwright_plugins.dataset.python_families import REFERENCE, family_of
from modelwright_plugins.dataset.splits import SPLITTING, Candidate, Cut, Shares, cut, normalize

log = logging.getLogger(__name__)

Form = Literal["pairs", "text"]

# Raise one when a change to the extraction or the labels makes other records of that form.
BUILDER: dict[Form, int] = {"pairs": 1, "text": 1}
# Pairs are there to calibrate and to judge with; most of the running text is there to train on.
SHARES: dict[Form, Shares] = {
    "pairs": Shares(train=0.4, calibration=0.1, validation=0.1, test=0.4),
    "text": Shares(train=0.86, calibration=0.03, validation=0.03, test=0.08),
}

TOPICS = "pydoc_data/topics.py"
# Tests and examples document themselves, not the library; the rest is not the library's.
SKIPPED = frozenset(
    (
        *("__pycache__", "__phello__", "dist-packages", "idle_test", "idlelib", "lib-dynload"),
        *("pydoc_data", "site-packages", "test", "tests", "turtledemo"),
    )
)


def _usual_shares(given: dict[str, Any]) -> Shares:
    # A form that was refused is not among the values given.
    return SHARES[given.get("form", "pairs")]


class PythonDocs(Dataset, name="python-docs"):
    """Python's own documentation, offline: `{use: python-docs}` or `{use: python-docs, form: text}`.

    As `pairs`, a docstring's first paragraph is the `query` and the rest its `passage`, each unlike all
    others; `text` is both. `label` is the family of the module (`networking`, `text`, …; `reference` for the
    language reference). As `text`, for language models, a record is a whole docstring or a whole section of
    the reference, examples and markup included, and `text` is its only column. Source files are parsed,
    never imported. What was built is kept in `$XDG_CACHE_HOME/modelwright`. Raises MissingError where the
    library's source is not installed.
    """

    form: Form = Field(default="pairs", description="Pairs of query and passage, or running text.")
    shares: Shares = Field(
        default_factory=_usual_shares,
        description="Relative sizes of the splits (default: 0.4, 0.1, 0.1 and 0.4 of the pairs; 0.86, 0.03, "
        "0.03 and 0.08 of the running text).",
    )
    limit: int | None = Field(default=None, ge=1, description="At most this many records of each split.")

    def check(self) -> None:
        """Raise MissingError unless the standard library's source is on disk."""
        self._listing()

    def columns(self) -> frozenset[str]:
        """`text` alone, or `text`, `query`, `passage` and `label`."""
        return frozenset({"text"} if self.form == "text" else {"text", "query", "passage", "label"})

    def digest(self) -> str:
        """SHA-256 of the Python version, the library's file names and sizes and the parameters."""
        # What was there before the parameter `form` keeps its digest.
        parameters = self.model_dump(mode="json", exclude={"form"} if self.form == "pairs" else None)
        source = self._source_digest(self._listing())
        return digest_json({"use": self.name, "splitting": SPLITTING, "source": source, **parameters})

    def load(self, split: Split) -> list[Record]:
        """The records of one split, ordered by content."""
        return self.cut().take(
            split, self.limit, f"data set '{self.name}', Python {platform.python_version()}"
        )

    def cut(self) -> Cut:
        """Every record, by split; from the cache when these files were read before."""
        listing = self._listing()
        kind = "python-docs" if self.form == "pairs" else "python-docs-text"
        cached = _cache_folder() / f"{kind}-{self._source_digest(listing)}.json"
        records = _read(cached)
        if records is None:
            records = list(_pair_records(listing) if self.form == "pairs" else _text_records(listing))
            _write(cached, records)
        return cut(map(Candidate, records), self.shares)

    def _listing(self) -> dict[str, int]:
        listing = library_files()
        if not any(name != TOPICS for name in listing):
            raise MissingError(
                "The source of Python's standard library is not here.",
                where=f"data set '{self.name}', {library_folder()}",
                accepted="a Python that ships its .py files",
                hint="use data of your own, such as {use: jsonl, path: my.jsonl}",
            )
        return listing

    def _source_digest(self, listing: dict[str, int]) -> str:
        builder = BUILDER[self.form]
        return digest_json({"builder": builder, "python": platform.python_version(), "files": listing})


def library_folder() -> Path:
    """Where the standard library lies, in a virtual environment too."""
    return Path(sysconfig.get_path("stdlib"))


def library_files() -> dict[str, int]:
    """Size in bytes of each source file by its path relative to the library, in sorted order."""
    root = str(library_folder())
    sizes: dict[str, int] = {}
    for folder, folders, files in os.walk(root):
        # Folders such as config-3.11-x86_64-linux-gnu hold what is particular to one build.
        folders[:] = [name for name in folders if name not in SKIPPED and "-" not in name]
        for name in files:
            if name.endswith(".py") and not name.startswith("_sysconfigdata"):
                file = f"{folder}/{name}"
                sizes[file[len(root) + 1 :]] = os.stat(file).st_size  # noqa: PTH116 - called for 600 files
    topics = library_folder() / TOPICS
    if topics.is_file():
        sizes[TOPICS] = topics.stat().st_size
    return dict(sorted(sizes.items()))


def _pairs(listing: dict[str, int]) -> Iterator[tuple[str, Pair]]:
    for name in listing:
        source = (library_folder() / name).read_bytes()
        if name == TOPICS:
            yield from ((REFERENCE, pair) for pair in topic_pairs(source))
            continue
        family = family_of(name.partition("/")[0].removesuffix(".py"))
        try:
            yield from ((family, pair) for pair in docstring_pairs(source))
        except (SyntaxError, ValueError):
            log.info("%s is not Python %s", name, platform.python_version())


def _pair_records(listing: dict[str, int]) -> Iterator[Record]:
    seen: set[str] = set()
    for family, pair in _pairs(listing):
        keys = {normalize(pair.query), normalize(pair.passage)}
        if seen.isdisjoint(keys):  # a second right answer would count as a wrong one in retrieval
            seen |= keys
            text = f"{pair.query}\n\n{pair.passage}"
            yield Record(text=text, query=pair.query, passage=pair.passage, label=family)


def _text_records(listing: dict[str, int]) -> Iterator[Record]:
    seen: set[str] = set()
    for name in listing:
        extract = topic_sections if name == TOPICS else docstrings
        try:
            texts = list(extract((library_folder() / name).read_bytes()))
        except (SyntaxError, ValueError):
            log.info("%s is not Python %s", name, platform.python_version())
            continue
        for text in texts:
            key = normalize(text)
            if key not in seen:
                seen.add(key)
                yield Record(text=text)


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or ""
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "modelwright"


def _read(file: Path) -> list[Record] | None:
    try:
        records: list[Record] = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return records if isinstance(records, list) else None


def _write(file: Path, records: list[Record]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=file.parent, suffix=".part", encoding="utf-8", delete=False
        ) as part:
            json.dump(records, part, ensure_ascii=False)
        Path(part.name).replace(file)
    except OSError as error:
        log.info("not kept for the next run: %s", error)
