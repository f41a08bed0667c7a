import json
import os
import platform
import subprocess
import sys
from collections import Counter

import pytest
from pydantic import ValidationError

from modelwright.api.dataset import SPLITS
from modelwright.digest import digest_json
from modelwright.errors import MissingError
from modelwright_plugins.dataset import python_docs
from modelwright_plugins.dataset.python_docs import PythonDocs
from modelwright_plugins.dataset.splits import SPLITTING, Shares, normalize


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder / "modelwright"


@pytest.fixture(scope="module")
def splits(cache):
    return {split: PythonDocs().load(split) for split in SPLITS}


def test_there_are_enough_records_to_calibrate_and_to_judge(splits):
    assert len(splits["test"]) >= 1000
    assert len(splits["calibration"]) >= 240
    assert len(splits["validation"]) >= 240


def test_every_record_has_every_column(splits):
    for records in splits.values():
        for record in records:
            assert record.keys() == PythonDocs().columns()
            assert all(record.values())
            assert record["text"] == f"{record['query']}\n\n{record['passage']}"


def test_queries_and_passages_are_unique_over_all_splits(splits):
    records = [record for split in splits.values() for record in split]
    for column in ("query", "passage"):
        assert max(Counter(normalize(record[column]) for record in records).values()) == 1


def test_texts_are_of_sensible_length_and_free_of_markup(splits):
    for record in splits["test"]:
        assert 15 <= len(record["query"]) <= 300
        assert 40 <= len(record["passage"]) <= 2000
        assert "\n" not in record["query"]
        assert "``" not in record["text"]
        assert ":class:`" not in record["text"]
        assert ".. versionadded" not in record["text"]


def test_labels_are_balanced(splits):
    counts = Counter(record["label"] for record in splits["test"])
    assert len(counts) == 9
    assert min(counts.values()) >= 60
    assert max(counts.values()) < 0.25 * counts.total()
    assert counts.keys() == {record["label"] for record in splits["calibration"]}


def test_a_label_says_what_the_module_is_for(splits):
    records = [record for split in splits.values() for record in split]
    label = {record["query"]: record["label"] for record in records}
    assert label["Return the sample variance of data."] == "data"
    assert label["Set the event loop."] == "concurrency"


def test_the_cache_gives_what_was_built(cache, splits, tmp_path, monkeypatch):
    assert PythonDocs().load("test") == splits["test"]
    file = next(cache.glob("python-docs-*.json"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    broken = tmp_path / "modelwright" / file.name
    broken.parent.mkdir()
    broken.write_text("[{", encoding="utf-8")
    assert PythonDocs().load("test") == splits["test"]
    assert json.loads(broken.read_text(encoding="utf-8")) == json.loads(file.read_text(encoding="utf-8"))
    assert list(broken.parent.iterdir()) == [broken]


def test_the_limit_takes_the_head_of_each_split(splits):
    assert PythonDocs(limit=7).load("calibration") == splits["calibration"][:7]


def test_the_digest_follows_parameters_and_files(monkeypatch):
    digest = PythonDocs().digest()
    assert digest == PythonDocs().digest()
    assert len(digest) == 64
    assert digest != PythonDocs(limit=5).digest()
    assert digest != PythonDocs(shares=Shares(test=1)).digest()
    files = python_docs.library_files()
    monkeypatch.setattr(python_docs, "library_files", lambda: {**files, "abc.py": files["abc.py"] + 1})
    assert digest != PythonDocs().digest()


def test_a_python_without_source_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(python_docs, "library_folder", lambda: tmp_path)
    with pytest.raises(MissingError, match="source of Python's standard library is not here") as caught:
        PythonDocs().check()
    assert str(tmp_path) in str(caught.value)


def test_modules_are_parsed_and_not_imported_and_a_cache_in_the_way_is_no_obstacle(splits, tmp_path):
    (tmp_path / "modelwright").write_text("a file, so that no cache can be written", encoding="utf-8")
    code = (
        "import sys; from modelwright_plugins.dataset.python_docs import PythonDocs;"
        "print(len(PythonDocs().load('test')));"
        "print(sorted({'tkinter', 'turtle', 'antigravity', 'pydoc_data', 'torch'} & set(sys.modules)))"
    )
    paths = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths, "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n") == [str(len(splits["test"])), "[]", ""]


@pytest.fixture(scope="module")
def texts(cache):
    return {split: [record["text"] for record in PythonDocs(form="text").load(split)] for split in SPLITS}


def test_running_text_has_one_column(texts):
    assert PythonDocs(form="text").columns() == {"text"}
    for split in SPLITS:
        assert all(record.keys() == {"text"} for record in PythonDocs(form="text").load(split))


def test_no_document_is_in_two_splits_nor_twice_in_one(texts):
    documents = Counter(normalize(text) for split in SPLITS for text in texts[split])
    assert documents.total() > 7000
    assert max(documents.values()) == 1


def test_most_of_the_running_text_is_there_to_train_on_and_no_document_is_most_of_a_split(texts):
    sizes = {split: sum(map(len, texts[split])) for split in SPLITS}
    total = sum(sizes.values())
    assert total > 1_500_000
    assert sizes["train"] > 0.8 * total
    assert 0.05 * total < sizes["test"] < 0.12 * total
    for split in SPLITS:
        assert max(map(len, texts[split])) < 0.15 * sizes[split]


def test_running_text_keeps_examples_and_markup(texts):
    whole = "\n".join(texts["train"])
    assert "\n>>> " in whole
    assert "``" in whole
    assert "The try statement" in whole or 'The "try" statement' in whole


def test_running_text_comes_in_the_same_order_from_the_cache_and_from_the_source(
    texts, tmp_path, monkeypatch
):
    assert [record["text"] for record in PythonDocs(form="text").load("test")] == texts["test"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert [record["text"] for record in PythonDocs(form="text").load("test")] == texts["test"]


def test_the_form_has_shares_of_its_own_that_a_recipe_can_change():
    assert PythonDocs(form="text").shares.of("train") == 0.86
    assert PythonDocs().shares.of("train") == 0.4
    assert PythonDocs(form="text", shares=Shares(test=1)).shares.of("test") == 1
    with pytest.raises(ValidationError, match="'pairs' or 'text'"):
        PythonDocs(form="poems")


def test_the_digest_follows_the_form_and_that_of_pairs_does_not_know_it():
    pairs, text = PythonDocs(), PythonDocs(form="text")
    assert pairs.digest() != text.digest()
    assert pairs.digest() != PythonDocs(form="text", shares=pairs.shares).digest()
    files = {"builder": 1, "python": platform.python_version(), "files": python_docs.library_files()}
    before_there_were_forms = {
        "use": "python-docs",
        "splitting": SPLITTING,
        "source": digest_json(files),
        "shares": {"train": 0.4, "calibration": 0.1, "validation": 0.1, "test": 0.4},
        "limit": None,
    }
    assert pairs.digest() == digest_json(before_there_were_forms)


def test_a_component_restored_from_its_reference_is_the_same():
    made = PythonDocs(form="text", limit=3)
    assert PythonDocs(**made.reference()["parameters"]) == made
