"""Whether two models read the same token ids."""

from __future__ import annotations

from modelwright.api.model import Model
from modelwright.errors import RecipeError
from modelwright_plugins.format.json_file import read_json
from modelwright_plugins.text.tokenize import TOKENIZER_FILE, open_tokenizer


def require_same_vocabulary(teacher: Model, student: Model, where: str) -> None:
    """Raise RecipeError where the teacher's tokens are not the student's.

    Compared are the tokenizers, where both folders have a fast one, and the rows of the embedding tables.
    """
    folders = (teacher.path, student.path)
    if all((folder / TOKENIZER_FILE).is_file() for folder in folders):
        ours, theirs = (open_tokenizer(folder).get_vocab() for folder in reversed(folders))
        if ours != theirs:
            same = sum(theirs.get(token) == number for token, number in ours.items())
            raise _refusal(
                f"{same:,} of the student's {len(ours):,} tokens have the same id in the teacher's "
                f"vocabulary of {len(theirs):,}",
                where,
            )
    rows, others = (read_json(folder / "config.json").get("vocab_size") for folder in folders)
    if rows != others:
        raise _refusal(f"the teacher embeds {rows} tokens, the student {others}", where)


def _refusal(why: str, where: str) -> RecipeError:
    return RecipeError(
        f"Teacher and student are of different vocabularies: {why}.",
        where=where,
        accepted="a teacher with the student's tokenizer, which gives both the same token ids",
        hint="take a teacher of the same family, or make the student of the teacher's own layers",
    )
