import pytest

from modelwright.api.dataset import SPLITS
from modelwright.errors import RecipeError
from modelwright_plugins.dataset.parquet import Parquet

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def write(path, **columns):
    parquet.write_table(pyarrow.table(columns), path, row_group_size=64)
    return path


def test_a_file_comes_back_as_it_was_written(tmp_path):
    bodies = [f"línea {n}\nzweite 行" for n in range(300)]
    file = write(
        tmp_path / "été.parquet", body=bodies, kind=[n % 4 for n in range(300)], vector=[[1.0]] * 300
    )
    dataset = Parquet(path=file, text="body", label="kind")
    dataset.check()
    found = {record["text"]: record["label"] for split in SPLITS for record in dataset.load(split)}
    assert found == {body: str(n % 4) for n, body in enumerate(bodies)}
    assert dataset.columns() == {"text", "label"}


def test_the_column_split_and_nulls(tmp_path):
    file = write(tmp_path / "a.parquet", text=["a", None, "b", "c"], split=["test", "test", "test", "train"])
    assert sorted(record["text"] for record in Parquet(path=file).load("test")) == ["a", "b"]


def test_the_digest_follows_the_content(tmp_path):
    first = Parquet(path=write(tmp_path / "a.parquet", text=["a", "b"])).digest()
    assert Parquet(path=write(tmp_path / "b.parquet", text=["a", "b"])).digest() == first
    assert Parquet(path=write(tmp_path / "c.parquet", text=["a", "c"])).digest() != first


def test_what_is_not_parquet_and_a_missing_column(tmp_path):
    other = tmp_path / "a.parquet"
    other.write_text("text\nhello\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="is not a Parquet file") as caught:
        Parquet(path=other).check()
    assert "use: csv" in str(caught.value)
    whole = write(tmp_path / "b.parquet", body=["a"], other=["b"])
    with pytest.raises(RecipeError, match="no column 'boddy'") as caught:
        Parquet(path=whole, text="boddy").check()
    assert "did you mean 'body'?" in str(caught.value)
    with pytest.raises(RecipeError, match="holds a list"):
        Parquet(path=write(tmp_path / "c.parquet", text=[["a"]])).load("train")
