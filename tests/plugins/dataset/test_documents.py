import pytest

from modelwright_plugins.dataset.documents import docstrings, topic_sections

SOURCE = b'''
"""A module.

    >>> used()  # as :class:`shown` here
"""

if True:
    class Reader:
        "Reads."

        def __init__(self):
            """   """

        async def read(self):
            """Reads on.

            .. versionadded:: 3.9
            """
            def inner():
                """Within."""

            return """No docstring."""
'''

TOPICS = '''
topics = {
    "outer": """Outer
*****

Before.

Inner
=====

What "inner" is:

   x = 1
""",
    "inner": """Inner
*****

What "inner" is:

   x = 1
""",
}
'''


def test_docstrings_are_whole_and_in_the_order_of_the_source():
    assert list(docstrings(SOURCE)) == [
        "A module.\n\n>>> used()  # as :class:`shown` here",
        "Reads.",
        "Reads on.\n\n.. versionadded:: 3.9",
        "Within.",
    ]


def test_what_is_not_python_is_refused():
    with pytest.raises(SyntaxError):
        list(docstrings(b"print 'old'"))


def test_a_topic_and_the_section_that_repeats_it_are_the_same_document():
    inner = 'Inner\n\nWhat "inner" is:\n\n   x = 1'
    assert list(topic_sections(TOPICS.encode())) == [inner, "Outer\n\nBefore.", inner]
