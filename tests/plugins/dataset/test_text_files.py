import pytest

from modelwright.api.dataset import SPLITS
from modelwright.errors import RecipeError
from modelwright_plugins.dataset.splits import Shares
from modelwright_plugins.dataset.text_files import TextFiles


def passage(name, number):
    return f"Abschnitt {number} der Datei {name}, lang genug für einen Eintrag — ünïcödé."


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "Bücher"
    (root / "unter").mkdir(parents=True)
    for n in range(60):
        name = f"{'unter/' if n % 2 else ''}kapitel {n}.{'md' if n % 3 else 'txt'}"
        text = "\n \n".join(["short", *(passage(name, part) for part in range(5))])
        (root / name).write_text(text, encoding="utf-8")
    (root / "code.py").write_text(passage("code.py", 1), encoding="utf-8")
    (root / ".git").mkdir()
    (root / ".git" / "log.txt").write_text(passage("log", 1), encoding="utf-8")
    return root


def texts(dataset):
    return {split: [record["text"] for record in dataset.load(split)] for split in SPLITS}


def words_of(path, method="check", **parameters):
    dataset = TextFiles(path=str(path), **parameters)
    with pytest.raises(RecipeError) as caught:
        dataset.check() if method == "check" else dataset.load("test")
    return str(caught.value)


def test_a_folder_is_read_with_each_file_in_one_split(folder):
    found = texts(TextFiles(path=str(folder)))
    assert sum(map(len, found.values())) == 300
    files = {split: {text.split(", ")[0].split("Datei ")[1] for text in found[split]} for split in SPLITS}
    assert sum(map(len, files.values())) == len(set.union(*files.values())) == 60


def test_a_new_file_moves_no_other(folder):
    before = texts(TextFiles(path=str(folder)))
    (folder / "aaa.txt").write_text("Ein ganz neuer Text, der vor allen anderen steht.", encoding="utf-8")
    after = texts(TextFiles(path=str(folder)))
    assert {split: [text for text in after[split] if "neuer" not in text] for split in SPLITS} == before


def test_a_glob_takes_what_it_matches(folder):
    found = TextFiles(path=f"{folder}/**/*.md").files()
    assert len(found) == 40
    assert set(found) == {name for name in TextFiles(path=str(folder)).files() if name.endswith(".md")}
    assert list(TextFiles(path=f"{folder}/*.py").files()) == ["code.py"]


def test_a_single_file_is_cut_between_its_passages(tmp_path):
    file = tmp_path / "one.txt"
    file.write_text("\n\n".join(passage("one", n) for n in range(200)), encoding="utf-8")
    assert min(map(len, texts(TextFiles(path=str(file))).values())) > 5


def test_few_files_leave_a_split_empty_unless_they_may_be_cut(tmp_path):
    for name in "ab":
        text = "\n\n".join(passage(name, n) for n in range(100))
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    shares = Shares(train=1, calibration=0, validation=0, test=1e-9)
    words = words_of(tmp_path, method="load", shares=shares)
    assert "The split 'test' is empty. Records in all: 200 (train 200," in words
    assert "keep_files_together: false" in words
    assert len(TextFiles(path=str(tmp_path), keep_files_together=False).load("test")) > 30


def test_a_passage_in_files_of_two_splits_is_in_one_of_them(folder):
    licence = "The same licence stands at the head of every file of this folder."
    for file in TextFiles(path=str(folder)).files().values():
        file.write_text(licence + "\n\n" + file.read_text(encoding="utf-8"), encoding="utf-8")
    found = texts(TextFiles(path=str(folder)))
    assert sum(split.count(licence) for split in found.values()) == 1
    assert TextFiles(path=str(folder)).cut().overlaps == 3


def test_the_digest_follows_names_content_and_parameters(folder, tmp_path):
    digest = TextFiles(path=str(folder)).digest()
    moved = folder.rename(tmp_path / "moved")
    assert TextFiles(path=str(moved)).digest() == digest
    assert TextFiles(path=str(moved), min_length=3).digest() != digest
    (moved / "code.py").write_text("changed, but not read", encoding="utf-8")
    assert TextFiles(path=str(moved)).digest() == digest
    (moved / "kapitel 0.txt").rename(moved / "kapitel null.txt")
    assert TextFiles(path=str(moved)).digest() != digest


def test_what_cannot_be_read_is_named(folder, tmp_path):
    assert "did you mean 'Bücher'?" in words_of(tmp_path / "Bucher")
    assert "There is no" in words_of(tmp_path / "Bucher" / "*.txt")
    words = words_of(folder / "*.rst")
    assert "No files match" in words
    assert ".md" in words
    (tmp_path / "empty").mkdir()
    assert "No files match" in words_of(tmp_path / "empty")
    (tmp_path / "empty" / "a.txt").touch()
    assert "is empty" in words_of(tmp_path / "empty")
    (folder / "latin.txt").write_bytes("caf\u00e9".encode("latin-1"))
    words = words_of(folder, method="load")
    assert "latin.txt' is not utf-8 text: byte 0xe9" in words
