"""Whatever is wrong with a file comes out as one sentence with its place."""

from __future__ import annotations

import csv
import json
import random
import re
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qwen_retrieval.errors import DataError
from qwen_retrieval.evaluation import lines, pairs, read_folder
from qwen_retrieval.evaluation.data import read_collection
from qwen_retrieval.evaluation.folders import FolderWriter, write_once

MUTATIONS = 2_000
LONGEST = 4_096  # bytes a line may have here, so that a too long one is quickly made

# file, what is done to its lines, what is said
CASES: list[tuple[str, Callable[[list[bytes]], list[bytes]], str]] = [
    ("corpus.jsonl", lambda rows: [*rows[:1], b'{"_id": "x", "title": ""}', *rows[1:]],
     r"corpus\.jsonl, line 2: the field 'text' is missing; there are '_id', 'title'\."),
    ("corpus.jsonl", lambda rows: [*rows[:2], b'{"_id": 7, "text": ""}'],
     r"corpus\.jsonl, line 3: the field '_id' is a JSON number; give a string\."),
    ("corpus.jsonl", lambda rows: [*rows, rows[0]],
     r"corpus\.jsonl, line 7: the id 'a' stands on line 1 already"),
    ("corpus.jsonl", lambda rows: [*rows, b'{"_id": "x", "text": "caf\xe9"}'],
     r"corpus\.jsonl, line 7: byte 26 \(0xe9\) is not UTF-8; convert"),
    ("corpus.jsonl", lambda rows: [*rows, b'{"_id": "x", "text": "\\ud800"}'],
     r"corpus\.jsonl, line 7: .* lone surrogate U\+D800"),
    ("corpus.jsonl", lambda rows: [*rows, b'{"_id": "x", "text": "' + b"a" * LONGEST + b'"}'],
     r"corpus\.jsonl, line 7: longer than 4,096 bytes"),
    ("corpus.jsonl", lambda rows: [rows[0], b"", *rows[1:]],
     r"corpus\.jsonl, line 2: blank"),
    ("corpus.jsonl", lambda rows: [*rows, b'{"_id": "x", "text": "a"'],
     r"corpus\.jsonl, line 7: not JSON \(Expecting ',' delimiter at character 25\)"),
    ("corpus.jsonl", lambda rows: [*rows, b"[" * 4_000],
     r"corpus\.jsonl, line 7: (JSON that cannot be read|not JSON)"),
    ("corpus.jsonl", lambda rows: [*rows, b'{"_id": "x", "n": 1' + b"0" * 4_000 + b"}"],
     r"corpus\.jsonl, line 7: "),
    ("corpus.jsonl", lambda rows: [*rows, b'["x"]'], r"line 7: a JSON array; give an object"),
    ("corpus.jsonl", lambda rows: [*rows, b'{"_id": "a\\tb", "text": ""}'], r"line 7: '_id' is"),
    ("corpus.jsonl", lambda _rows: [], r"corpus\.jsonl, line 1: the file is empty"),
    ("queries.jsonl", lambda rows: [*rows, rows[2]], r"queries\.jsonl, line 5: the id '3' stands"),
    ("queries.jsonl", lambda rows: rows[1:], r"qrels\.tsv, line 2: the query '1' is not in"),
    ("corpus.jsonl", lambda rows: rows[1:], r"qrels\.tsv, line 2: the document 'a' is not in"),
    ("qrels.tsv", lambda rows: [*rows, b"1 a 1"], r"qrels\.tsv, line 9: 1 columns; give three"),
    ("qrels.tsv", lambda rows: [*rows, b"1\tb\tx"], r"qrels\.tsv, line 9: the score is 'x'"),
    ("qrels.tsv", lambda rows: [*rows, b"1\tb\t1e9"], r"qrels\.tsv, line 9: the score is '1e9'"),
    ("qrels.tsv", lambda rows: [*rows, rows[1]], r"line 9: the query '1' and .* judged already"),
    ("qrels.tsv", lambda rows: rows[:1], r"qrels\.tsv, line 1: there are no judgements"),
    ("qrels.tsv", lambda _rows: [], r"qrels\.tsv, line 1: there are no judgements"),
    ("qrels.tsv", lambda rows: [b"who\twhat\thow", *rows[1:]], r"line 1: the query 'who' is not"),
    ("qrels.tsv", lambda rows: [r[:-1] + b"0" for r in rows[1:]], r"no query has a relevant"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def short_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a line of more than four kilobytes too long."""
    monkeypatch.setattr(lines.read_lines, "__defaults__", (LONGEST,))


@pytest.mark.parametrize(("file", "change", "sentence"), CASES, ids=[c[2][:60] for c in CASES])
def test_a_fault_is_named_with_its_line(
    folder: Path, file: str, change: Callable[[list[bytes]], list[bytes]], sentence: str
) -> None:
    """The sentence says where, what, and what to do."""
    path = folder / file
    path.write_bytes(b"".join(row + b"\n" for row in change(path.read_bytes().splitlines())))
    with pytest.raises(DataError, match=sentence) as caught:
        read_folder(folder)
    assert "\n" not in str(caught.value)


def test_what_is_no_fault_is_read(folder: Path) -> None:
    """Blank lines at the end, CRLF, a byte order mark, no last line end, and no head are fine."""
    expected = read_folder(folder)
    corpus, qrels = folder / "corpus.jsonl", folder / "qrels.tsv"
    corpus.write_bytes(b"\xef\xbb\xbf" + corpus.read_bytes().replace(b"\n", b"\r\n") + b"\n\n")
    qrels.write_bytes(qrels.read_bytes().partition(b"\n")[2].rstrip(b"\n"))
    found = read_folder(folder)
    assert found.digest == expected.digest
    assert found.documents.texts([0, 4, 5]) == [
        "Apples red apples grow on trees", "", "Figs figs are sweet – très doux",
    ]  # fmt: skip
    assert found.documents.ids([5, 0]) == ["f", "a"]
    assert (found.query_ids, found.left_out) == (("1", "2", "3"), 1)
    assert found.judgements == ({0: 2, 2: 1}, {2: 1, 5: 1, 1: 0}, {1: 1})


def test_a_title_that_is_null_is_absent(folder: Path) -> None:
    """As exports of tables write it."""
    corpus = folder / "corpus.jsonl"
    corpus.write_text(
        corpus.read_text(encoding="utf-8").replace('"title": ""', '"title": null'), "utf-8"
    )
    assert read_folder(folder).documents.texts([1]) == ["the sky is blue"]


def test_splits_are_chosen(folder: Path) -> None:
    """Test by default, the only one, or the one asked for; else the message lists them."""
    (folder / "qrels").mkdir()
    (folder / "qrels.tsv").rename(folder / "qrels" / "train.tsv")
    assert len(read_folder(folder).queries) == 3
    (folder / "qrels" / "dev.tsv").write_text("3\tb\t1\n")
    with pytest.raises(DataError, match=r"several splits, \['dev', 'train'\]; choose one"):
        read_folder(folder)
    dev = read_folder(folder, split="dev")
    assert (len(dev.queries), dev.left_out) == (1, 0), "the others belong to another split"
    (folder / "qrels" / "test.tsv").write_text("3\tb\t1\n1\ta\t1\n")
    assert len(read_folder(folder).queries) == 2
    with pytest.raises(DataError, match=r"no judgements qrels/x\.tsv; there are \['dev', 'test',"):
        read_folder(folder, split="x")


# --- two thousand at random --------------------------------------------------------------------


def mutated(rows: list[bytes], random: random.Random, *, table: bool) -> list[bytes]:
    """Return lines with one random fault, or with something that merely looks like one."""
    place = random.randrange(len(rows))
    row = rows[place]
    at = random.randrange(len(row) + 1)

    def json_change() -> bytes:
        value = json.loads(row)
        key = random.choice(list(value))
        match random.randrange(4):
            case 0:
                del value[key]
            case 1:
                value[key] = random.choice(
                    [None, 7, 1.5, True, [], {}, ["x"], "", " ", "a\tb", "é"]
                )
            case 2:
                value[key + random.choice(" x_")] = value.pop(key)
            case _:
                value = random.choice([[], 3, None, "text", [value], {}])
        return json.dumps(value).encode()

    def cell_change() -> bytes:
        cells = row.split(b"\t")
        cell = random.randrange(len(cells))
        match random.randrange(4):
            case 0:
                del cells[cell]
            case 1:
                cells[cell] = random.choice(
                    [b"", b"x", b"-1", b"1.0", b"99999999999", b"\xff", b"1"]
                )
            case 2:
                cells.insert(cell, b"1")
            case _:
                random.shuffle(cells)
        return b"\t".join(cells)

    changes: list[Callable[[], list[bytes]]] = [
        lambda: [*rows[:place], cell_change() if table else json_change(), *rows[place + 1 :]],
        lambda: [*rows[:place], row[:at] + random.randbytes(3) + row[at:], *rows[place + 1 :]],
        lambda: [*rows[:place], row[:at] + b"\xff\xfe" + row[at:], *rows[place + 1 :]],
        lambda: [*rows[:place], row[:at], *rows[place + 1 :]],
        lambda: [*rows[:place], row[:at], row[at:], *rows[place + 1 :]],
        lambda: [*rows[:place], row[:at] + b"a" * (2 * LONGEST) + row[at:], *rows[place + 1 :]],
        lambda: [*rows[:place], random.choice(rows), *rows[place:]],
        lambda: rows[:place] + rows[place + 1 :],
        lambda: rows[:place],
        lambda: [
            *rows[:place],
            random.choice([b"", b" ", b"\x00", b"\xef\xbb\xbf"]),
            *rows[place:],
        ],
        lambda: [*rows[:place], random.choice([b"[", b"{", b"1"]) * 3_000, *rows[place:]],
        lambda: [*rows[:place], row.replace(b"a", b"\\ud83d"), *rows[place + 1 :]],
        lambda: [*rows[:place], row + b"\r", *rows[place + 1 :]],
    ]
    return random.choice(changes)()


def test_two_thousand_mutations_give_a_sentence_or_the_whole_run(
    folder: Path, tmp_path: Path
) -> None:
    """Never a traceback, and never a run that is silently shorter than the files are."""
    random_ = random.Random(6)
    whole = read_folder(folder)
    refused = 0
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    for number in range(MUTATIONS):
        file = random_.choice(sorted(files))
        rows = files[file].splitlines()
        changed = mutated(rows, random_, table=file.endswith("tsv"))
        (broken / file).write_bytes(b"".join(row + b"\n" for row in changed))
        try:
            found = read_folder(broken)
            found.documents.texts(range(len(found.documents)))
        except DataError as error:
            refused += 1
            sentence = str(error)
            assert "\n" not in sentence, (number, sentence)
            assert re.search(r"\.(jsonl|tsv), line \d+( and on)?: ", sentence), (number, sentence)
            assert len(sentence) < 700, (number, sentence)
        else:
            # What is left of the files counts in full: nothing was skipped on the way.
            lines_of = {
                name: [row for row in (broken / name).read_bytes().split(b"\n") if row.strip()]
                for name in ("corpus.jsonl", "queries.jsonl", "qrels.tsv")
            }
            heads = lines_of["qrels.tsv"][0].lower().startswith(b"query")
            judged = sum(map(len, found.judgements))
            assert len(found.documents) == len(lines_of["corpus.jsonl"])
            asked = {row.split(b"\t")[0] for row in lines_of["qrels.tsv"][heads:]}
            assert len(found.queries) + found.left_out == len(asked)
            assert judged <= len(lines_of["qrels.tsv"]) - heads
            assert len(found.queries) >= len(whole.queries) or file == "qrels.tsv", number
        (broken / file).write_bytes(files[file])
    assert refused > MUTATIONS / 2


# --- tables of questions -----------------------------------------------------------------------


def test_a_table_of_questions_is_a_collection(tmp_path: Path) -> None:
    """Equal passages are one document, and a question in two rows has two answers."""
    file = tmp_path / "faq.csv"
    file.write_text(
        'id,Question,Answer\n1,"how, so?","line one\n\nline two"\n2,why?,because\n'
        "3,why?,therefore\n"
        "4,wherefore?,because\n5,why?,because\n\n",
        encoding="utf-8-sig",
    )
    found = read_collection(file, store=tmp_path / "store")
    assert (found.name, found.queries) == ("faq", ("how, so?", "why?", "wherefore?"))
    assert found.documents.texts(range(3)) == ["line one\n\nline two", "because", "therefore"]
    assert found.judgements == ({0: 1}, {1: 1, 2: 1}, {1: 1})
    objects = tmp_path / "faq.jsonl"
    objects.write_text('{"q": "why?", "a": "because"}\n')
    named = read_collection(objects, store=tmp_path, question="q", passage="a")
    assert named.queries == ("why?",)


def test_a_cell_may_be_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole manual in one cell is read; one without end is called that."""
    monkeypatch.setattr(lines.read_lines, "__defaults__", (lines.MAX_LINE,))
    file = tmp_path / "long.csv"
    manual = "a line of it\n" * 12_000
    file.write_text(f'question,answer\nwhy?,"{manual}"\n', encoding="utf-8")
    found = read_collection(file, store=tmp_path)
    assert found.documents.texts([0]) == [manual]
    monkeypatch.setattr(pairs, "MAX_LINE", 1_000)
    with file.open("a") as lines_of_it:
        lines_of_it.write("why not?,no\n")
    before = csv.field_size_limit(1_000)
    try:
        with pytest.raises(DataError, match=r"longer than 1,000 characters; is a quote left open"):
            read_collection(file, store=tmp_path)
    finally:
        csv.field_size_limit(before)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("x.csv", b"question,answer\na,b\nc\n", r"x\.csv, line 3: 1 columns where the first line"),
        ("x.csv", b'question,answer\na,"b\nc,d\n', r"x\.csv, line 3: no CSV \(unexpected end of"),
        ("x.csv", b"question,answer\na,\xff\n", r"x\.csv, line 2: byte 3 \(0xff\) is not UTF-8"),
        ("x.csv", b"question,answer\na,\n", r"x\.csv, line 2: the passage is empty"),
        ("x.csv", b"question,answer\n\na,b\n", r"x\.csv, line 2: blank"),
        ("x.csv", b"question,answer\n", r"x\.csv, line 1: there are no rows"),
        ("x.csv", b"", r"x\.csv, line 1: there are no rows"),
        ("x.csv", b"foo,bar\na,b\n", r"line 1: none of the columns \['foo', 'bar'\] has a usual"),
        ("x.jsonl", b'{"question": "a"}\n', r"line 1: none of the columns \[\] has a usual name"),
        (
            "x.jsonl",
            b'{"query": "a", "text": "b"}\n{"query": "a"}',
            r"line 2: the field 'text' is m",
        ),
        ("x.xml", b"<a/>", r"x\.xml is of no known kind"),
    ],
)
def test_a_broken_table_is_named_with_its_line(
    tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    """As with folders; and what was broken leaves nothing behind."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        read_collection(tmp_path / name, store=tmp_path / "store")
    assert not any(path.is_dir() for path in (tmp_path / "store").glob("imported/*"))


def test_two_imports_of_one_file_at_once_write_it_once(tmp_path: Path) -> None:
    """The second waits for the first, and finds its folder."""
    wrote = []

    def write(writer: FolderWriter) -> None:
        wrote.append(1)
        time.sleep(0.2)
        writer.document("d", "figs")

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(write_once, tmp_path / "made", write) for _ in range(4)]:
            done.result()
    assert len(wrote) == 1
    assert (tmp_path / "made" / "corpus.jsonl").read_text(encoding="utf-8").count("figs") == 1


def test_what_does_not_exist_is_said(tmp_path: Path) -> None:
    """A path that leads nowhere is no mteb task."""
    with pytest.raises(DataError, match=r"nowhere\.csv does not exist; give a folder"):
        read_collection("nowhere.csv", store=tmp_path)
    with pytest.raises(DataError, match=r"has no judgements; a collection holds corpus\.jsonl"):
        read_collection(tmp_path, store=tmp_path)
