import json

import pytest

from modelwright.api.dataset import SPLITS
from modelwright.errors import RecipeError
from modelwright_plugins.dataset.jsonl import Jsonl
from modelwright_plugins.dataset.splits import Shares

ALL_TRAIN = Shares(calibration=0, validation=0, test=0)


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def words_of(path, method="check", **parameters):
    dataset = Jsonl(path=path, **parameters)
    with pytest.raises(RecipeError) as caught:
        dataset.check() if method == "check" else dataset.load("train")
    return str(caught.value)


def test_records_come_back_with_their_unicode(tmp_path):
    rows = [{"query": f"¿qué {n}?", "passage": f"así\u2028 🦊 {n}", "label": n} for n in range(100)]
    file = write(
        tmp_path / "añadido.jsonl", *(json.dumps(row, ensure_ascii=n % 2 == 0) for n, row in enumerate(rows))
    )
    dataset = Jsonl(path=file)
    found = [record for split in SPLITS for record in dataset.load(split)]
    assert dataset.columns() == {"query", "passage", "label"}
    assert sorted(found, key=lambda record: int(record["label"])) == [
        {**row, "label": str(row["label"])} for row in rows
    ]


def test_blank_lines_and_a_byte_order_mark_are_no_records(tmp_path):
    file = write(
        tmp_path / "a.jsonl", '\ufeff{"text": "one"}', "", '{"text": "two", "more": [1]}', '{"text": null}'
    )
    assert {record["text"] for record in Jsonl(path=file, shares=ALL_TRAIN).load("train")} == {"one", "two"}


def test_adding_a_line_changes_the_digest_and_moves_no_record(tmp_path):
    lines = [json.dumps({"text": f"text number {n}"}) for n in range(300)]
    file = write(tmp_path / "a.jsonl", *lines)
    digest, before = Jsonl(path=file).digest(), Jsonl(path=file).load("test")
    write(file, '{"text": "a new first line"}', *lines)
    assert Jsonl(path=file).digest() != digest
    assert [record for record in Jsonl(path=file).load("test") if "new" not in record["text"]] == before


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (['{"text": "a"}', "", '{"text": "b"'], "Line 3 is not JSON"),
        (['{"text": "a"}', '["b"]'], "Line 2 is not a JSON object"),
        (['{"text": "a"}', '{"text": ["b"]}'], "Column 'text' holds a list, not text, in line 2"),
        (['{"text": "\\ud83e\\udd8a"}', '{"text": "\\ud83e!"}'], "Line 2 holds half of a surrogate pair"),
        (['{"text": "a", "split": "train"}', '{"text": "b"}'], "'None' is not a split"),
    ],
)
def test_a_broken_line_is_named(tmp_path, lines, words):
    assert words in words_of(write(tmp_path / "broken.jsonl", *lines), method="load")


def test_one_json_document_is_recognised(tmp_path):
    file = write(tmp_path / "document.json", "[", '  {"text": "a"}', "]")
    assert "one object per line" in words_of(file)


def test_bytes_that_are_not_utf8_name_the_line(tmp_path):
    file = tmp_path / "latin.jsonl"
    file.write_bytes(b'{"text": "a"}\n{"text": "caf\xe9"}\n')
    words = words_of(file, method="load")
    assert "is not utf-8 text: byte 0xe9" in words
    assert "line 2" in words


def test_a_missing_key_lists_those_of_the_first_line(tmp_path):
    words = words_of(write(tmp_path / "a.jsonl", '{"textt": "a", "id": 1}'), text="text")
    assert "There is no column 'text'" in words
    assert "accepted: textt, id" in words
    assert "did you mean 'textt'?" in words


def test_a_file_of_blank_lines_says_so(tmp_path):
    assert "no line with a JSON object" in words_of(write(tmp_path / "blank.jsonl", "", ""))


def test_the_plan_reads_the_first_line_alone(tmp_path):
    file = write(tmp_path / "late.jsonl", '{"text": "a"}', "not JSON")
    Jsonl(path=file).check()
    assert "Line 2" in words_of(file, method="load")
