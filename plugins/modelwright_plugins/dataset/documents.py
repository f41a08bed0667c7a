"""Whole documents from Python source that is parsed and never imported: docstrings and help topics.

Only white space around a document and the rules under its headings go. What a language model meets is
prose with its examples, signatures, tables and markup.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

HEADING = re.compile(r"^(\S[^\n]*)\n([*=\-~^])\2{2,}$", re.MULTILINE)


def docstrings(source: bytes) -> Iterator[str]:
    """Every docstring, in the order of the source: module, classes, functions and methods.

    Raises SyntaxError where the source is not Python of this version.
    """
    holders: list[ast.AST] = [ast.parse(source)]
    while holders:
        holder = holders.pop()
        if isinstance(holder, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = (ast.get_docstring(holder) or "").strip()
            if text:
                yield text
        holders.extend(reversed([child for child in ast.iter_child_nodes(holder) if _may_hold(child)]))


def topics(source: bytes) -> Iterator[str]:
    """The texts of a dictionary that is assigned to `topics`, as in `pydoc_data.topics`, ordered by key."""
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == "topics" for target in targets):
            assert isinstance(node, ast.Assign)
            for _, text in sorted(ast.literal_eval(node.value).items()):
                yield text


def topic_sections(source: bytes) -> Iterator[str]:
    """Every section of every topic as a document that begins with its heading.

    A topic often holds, one level further down, a section that is a topic of its own. Cut at every heading
    and freed of the rules, which tell the level, both are the same text and can be recognised as one.
    """
    for text in topics(source):
        starts = [match.start() for match in HEADING.finditer(text)]
        for start, end in zip([0, *starts], [*starts, len(text)], strict=True):
            section = HEADING.sub(r"\1", text[start:end]).strip()
            if section:
                yield section


def _may_hold(node: ast.AST) -> bool:
    # Definitions lie in statements; the far more numerous expressions need no visit.
    return isinstance(node, (ast.stmt, ast.ExceptHandler))
