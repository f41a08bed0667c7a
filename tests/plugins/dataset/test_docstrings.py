from modelwright_plugins.dataset.docstrings import clean, docstring_pairs, topic_pairs

SOURCE = b'''
"""Short.

Too short a first paragraph for a query, though this one is long enough."""

class Reader:
    """Reads one record at a time.

    Give :class:`~package.Source` or a path; see ``close`` for the end of it.

    .. versionadded:: 3.9
    """

    if True:
        def close(self, now):
            """Close the reader and what it reads from.

            :param now: close without waiting for the readers that are still open
            """

    def _one(self):
        """Only one paragraph here, so that nothing is left to be its passage."""

    def signature(self):
        """D.get(k[, d]) -> the value for a key that may not be there.

        A first paragraph that is a signature is no question anybody would ask.
        """
'''


def test_pairs_come_from_classes_and_methods_wherever_they_are_defined():
    pairs = list(docstring_pairs(SOURCE))
    assert [pair.query for pair in pairs] == [
        "Reads one record at a time.",
        "Close the reader and what it reads from.",
    ]
    assert pairs[0].passage == "Give package.Source or a path; see close for the end of it."
    assert pairs[1].passage == "now: close without waiting for the readers that are still open"


def test_heading_rules_go_and_headings_stay():
    assert clean("Usage\n=====\n\nCall it.") == "Usage\n\n\nCall it."


def test_topics_are_cut_at_headings_and_code_never_asks():
    text = """Naming
******

Names refer to objects in a namespace.

   x = 1

They are bound by assignment and by many other statements.


Binding
=======

Binding gives a name.

It is done "here", in a block, before the name is used for the first time.
"""
    pairs = list(topic_pairs(f"topics = {{'naming': {text!r}}}".encode()))
    assert [pair.query for pair in pairs] == [
        "Names refer to objects in a namespace.",
        "Binding gives a name.",
    ]
    assert "x = 1" in pairs[0].passage
    assert "Binding" not in pairs[0].passage
