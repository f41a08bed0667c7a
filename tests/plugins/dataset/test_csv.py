import csv

import pytest
from pydantic import ValidationError

from modelwright.api.dataset import SPLITS
from modelwright.errors import RecipeError
from modelwright_plugins.dataset.csv import Csv
from modelwright_plugins.dataset.splits import Shares

ROWS = [{"text": f'He said "{n}",\nthen left; größer 日本 {n}', "label": str(n % 3)} for n in range(200)]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "données ü 日本.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, ["label", "text"])
        writer.writeheader()
        writer.writerows(ROWS)
    return path


def all_records(dataset):
    return [record for split in SPLITS for record in dataset.load(split)]


def words_of(path, text=None, method="check", encoding="utf-8", **parameters):
    """The error of a data set on a file with this text."""
    if text is not None:
        path.write_bytes(text.encode(encoding))
    dataset = Csv(path=path, **parameters)
    with pytest.raises(RecipeError) as caught:
        dataset.check() if method == "check" else dataset.load("train")
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_cells_with_quotes_line_breaks_and_unicode_come_back_unchanged(file):
    key = lambda record: record["text"]  # noqa: E731
    assert sorted(all_records(Csv(path=file)), key=key) == sorted(ROWS, key=key)
    assert Csv(path=file).columns() == {"text", "label"}


def test_loading_twice_gives_the_same_order(file):
    assert Csv(path=file).load("test") == Csv(path=file).load("test")
    assert Csv(path=file, limit=4).load("test") == Csv(path=file).load("test")[:4]


def test_columns_by_other_names_and_a_tab(tmp_path):
    file = tmp_path / "pairs.tsv"
    file.write_text("\ufeffquestion\tanswer\tfold\nwhy?\tbecause\ttrain\n\nhow?\tso\tdev\n", encoding="utf-8")
    dataset = Csv(path=file, delimiter="\t", query="question", passage="answer", split="fold")
    dataset.check()
    assert dataset.load("validation") == [{"query": "how?", "passage": "so"}]


def test_the_column_split_is_honoured_without_being_named(tmp_path):
    file = tmp_path / "own.csv"
    file.write_text("text,split\na,train\nb,test\nA,test\nc,val\nd,calibration\n", encoding="utf-8")
    assert [Csv(path=file).load(split) for split in SPLITS] == [[{"text": text}] for text in "adcb"]


def test_the_digest_follows_content_and_parameters_and_not_the_place(file, tmp_path):
    digest = Csv(path=file).digest()
    moved = file.rename(tmp_path / "moved.csv")
    assert Csv(path=moved).digest() == digest
    assert Csv(path=moved, limit=3).digest() != digest
    assert Csv(path=moved, shares=Shares(test=0.4)).digest() != digest
    moved.write_text(moved.read_text(encoding="utf-8").replace("left", "went"), encoding="utf-8")
    assert Csv(path=moved).digest() != digest


def test_rows_with_an_empty_cell_are_left_out_and_counted(tmp_path, caplog):
    file = tmp_path / "gaps.csv"
    file.write_text("text,label\nfirst,a\nsecond,\n ,b\n", encoding="utf-8")
    assert Csv(path=file, shares=Shares(calibration=0, validation=0, test=0)).load("train") == [
        {"text": "first", "label": "a"}
    ]
    assert "rows left out for an empty cell: 2" in caplog.text


def test_a_missing_file_is_named_with_what_is_near(file):
    words = words_of(file.with_name("données ü 日本.csw"))
    assert "There is no" in words
    assert "did you mean 'données ü 日本.csv'?" in words
    assert "did you mean" in words_of(file.parent.with_name(file.parent.name + "x") / "deep" / "my.csv")


def test_a_folder_an_empty_file_and_another_encoding(file, tmp_path):
    words = words_of(tmp_path)
    assert "is a folder" in words
    assert file.name in words
    assert "is empty" in words_of(tmp_path / "nothing.csv", "")
    latin = tmp_path / "latin.csv"
    words = words_of(latin, "text\ncaf\u00e9 noir\n", method="load", encoding="latin-1")
    assert "is not utf-8 text: byte 0xe9" in words
    assert "encoding: latin-1" in words
    whole = Shares(calibration=0, validation=0, test=0)
    assert Csv(path=latin, encoding="latin-1", shares=whole).load("train") == [{"text": "caf\u00e9 noir"}]


def test_a_missing_column_lists_those_there_are(file, tmp_path):
    words = words_of(file, text=None, label="lable")
    assert "There is no column 'lable'" in words
    assert "accepted: label, text" in words
    assert "did you mean 'label'?" in words
    words = words_of(tmp_path / "other.csv", "body,kind\nx,y\n")
    assert "No column is named 'text', 'query' or 'passage'" in words
    assert "text: body" in words


def test_rows_that_do_not_fit_name_their_line(tmp_path):
    path = tmp_path / "bad.csv"
    words = words_of(path, 'text,label\n"two\nlines",a\nb,c,d\n', method="load")
    assert "The row ending in line 4 has 3 cells, the header 2" in words
    assert "This cannot be read as CSV" in words_of(path, 'text\n"never closed\n', method="load")
    assert "'text' is there twice" in words_of(path, "text,text\na,b\n")
    words = words_of(path, "text,split\na,train\nb,holdout\n", method="load")
    assert "'holdout' is not a split" in words
    assert "column 'split'" in words


def test_a_file_with_a_header_alone_has_an_empty_split(tmp_path):
    assert "Records in all: 0" in words_of(tmp_path / "header.csv", "text\n", method="load")


def test_unknown_parameters_and_encodings_are_refused(file):
    with pytest.raises(ValidationError, match="Extra inputs"):
        Csv(path=file, txt="body")
    with pytest.raises(ValidationError, match="'utf-9' is not an encoding"):
        Csv(path=file, encoding="utf-9")
