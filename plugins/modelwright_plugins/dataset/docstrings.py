"""Pairs of a short paragraph and what it introduces, from Python source that is parsed and never imported."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import NamedTuple

from modelwright_plugins.dataset.documents import HEADING, docstrings, topics

QUERY_LENGTH = (15, 300)
PASSAGE_LENGTH = (40, 2000)
# Enough that a topic's records are as long as a typical docstring.
TOPIC_PASSAGE = 150

_ROLE = re.compile(r":[a-z][a-z:+-]*:`~?([^`<]+?)(?:\s*<[^`>]*>)?`")
_DIRECTIVE = re.compile(r"^[^\S\n]*\.\. .*$", re.MULTILINE)
_RULE = re.compile(r"^[^\S\n]*([=\-~*^#+\"_])\1{2,}[^\S\n]*$", re.MULTILINE)
_FIELD = re.compile(r"^([^\S\n]*):(?:param|arg|type|raises?|rtype|returns?)\s*([^:\n]*):", re.MULTILINE)
_WORD = re.compile(r"[A-Za-z][a-z]+")
_PARAGRAPHS = re.compile(r"\n[^\S\n]*\n\s*?(?=[^\n])")


class Pair(NamedTuple):
    """A paragraph that could be asked and the text that answers it."""

    query: str
    passage: str


def docstring_pairs(source: bytes) -> Iterator[Pair]:
    """A pair for each docstring of more than one paragraph: module, classes, functions and methods.

    Raises SyntaxError where the source is not Python of this version.
    """
    if b'"""' not in source and b"'''" not in source:
        return
    for text in docstrings(source):
        if pair := _pair(paragraphs(clean(text))):
            yield pair


def topic_pairs(source: bytes) -> Iterator[Pair]:
    """Pairs from a module that assigns a dictionary of texts to `topics`, as `pydoc_data.topics` does."""
    for text in topics(source):
        yield from _prose_pairs(text)


def clean(text: str) -> str:
    """Text without Sphinx roles, directives, field lists, literal marks and heading rules."""
    text = inspect.cleandoc(text)
    text = _ROLE.sub(r"\1", text)
    text = _FIELD.sub(r"\1\2:", text)
    for noise in (_DIRECTIVE, _RULE):
        text = noise.sub("", text)
    return text.replace("``", "").replace("`", "").strip()


def paragraphs(text: str) -> list[str]:
    """The parts of a text between blank lines."""
    return [part.rstrip() for part in _PARAGRAPHS.split(text) if part.strip()]


def _is_prose(paragraph: str) -> bool:
    return (
        not paragraph[0].isspace()
        and not paragraph.startswith((">>>", "+-", "|", "* ", "- ", "$", "["))
        and "::=" not in paragraph
        and "->" not in paragraph
        and len(_WORD.findall(paragraph)) >= 3
    )


def _pair(parts: list[str]) -> Pair | None:
    """The first paragraph and as many of the following as fit, or None where either is unsuitable."""
    if not parts or not _is_prose(parts[0]):
        return None
    query = " ".join(parts[0].split())
    kept = [parts[1]] if len(parts) > 1 else []
    for part in parts[2:]:
        if sum(map(len, kept)) + len(part) > PASSAGE_LENGTH[1]:
            break
        kept.append(part)
    passage = inspect.cleandoc("\n\n".join(kept))[: PASSAGE_LENGTH[1]]
    if not QUERY_LENGTH[0] <= len(query) <= QUERY_LENGTH[1] or len(passage) < PASSAGE_LENGTH[0]:
        return None
    return Pair(query, passage) if len(_WORD.findall(passage)) >= 5 else None


def _prose_pairs(text: str) -> Iterator[Pair]:
    for section in _sections(text):
        group: list[str] = []
        for part in paragraphs(clean(section)):
            if group and _is_prose(part) and sum(map(len, group[1:])) >= TOPIC_PASSAGE:
                yield from filter(None, [_pair(group)])
                group = []
            if group or (_is_prose(part) and len(part) <= QUERY_LENGTH[1]):
                group.append(part)
        yield from filter(None, [_pair(group)])


def _sections(text: str) -> list[str]:
    starts = [match.end() for match in HEADING.finditer(text)]
    ends = [match.start() for match in HEADING.finditer(text)]
    return [text[start:end] for start, end in zip([0, *starts], [*ends, len(text)], strict=True)]
