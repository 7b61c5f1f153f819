"""Tables keep every text, whoever reads them: written by us, read by `csv`, pandas, R and ourselves.

Needs no torch: `python -m tests.other_pythons` runs this file on the other Pythons of a machine.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mre.errors import DataError
from mre.files import (
    JUDGE_SCORES,
    MAX_COLUMNS,
    MAX_LINE_CHARS,
    csv_text,
    fault_of_values,
    latex_table,
    markdown_table,
    read_csv_cells,
    read_json_lines,
    read_table,
    restored,
    safe,
)

PIECES = ['"', '""', "'", "''", ",", ";", "\t", "\n", "\r", "\r\n", "=", "+", "-", "@", "＝", "＋", "－", "＠", " ", "\xa0", "\ufeff",
          "\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1a", "\x1c", "\x7f", "\x01", "NA", "N/A", "nan", "NaN", "null", "NULL", "None",
          "<NA>", "-inf", "TRUE", "1e5", "0x1F", "007", "#", "\\", "\\n", "%d", "é", "雪", "🙂", "a", "b", "word"]
WHOLE = [*PIECES, "", "=1+1", "'=1", " =1", "\t=1", "\ufeff=1", "-1", "line one\nline two\r\nline three", '=HYPERLINK("http://e.example","x")',
         "a\rb", "\ra", "a\r", " both ", "'", "x" * 60_000, '"quoted"', "'\"'", ",,,"]
STARTS = tuple("=+-@\t\r\n＝＋－＠")
nasty = st.one_of(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",))), st.sampled_from(WHOLE),
                  st.lists(st.sampled_from(PIECES), max_size=6).map("".join))


def by_csv(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def by_pandas(text: str) -> list[list[str]]:
    frame = pd.read_csv(io.BytesIO(text.encode()), dtype=str, keep_default_na=False)
    return [list(frame.columns), *frame.to_numpy().tolist()]


def by_us(text: str) -> list[list[str]]:
    rows = [row for _, row in read_table(text.encode(), "t.csv")]
    return [list(rows[0]), *(list(row.values()) for row in rows)]


def by_r(text: str, tmp_path) -> list[list[str]]:
    """As R reads it without further options than the encoding. R takes each line break in a cell for a newline."""
    (tmp_path / "r.csv").write_text(text, encoding="utf-8", newline="")
    code = (f'd <- read.csv("{tmp_path / "r.csv"}", colClasses="character", na.strings=character(0), encoding="UTF-8", check.names=FALSE); '
            'for (i in seq_len(nrow(d))) cat(sapply(d[i, ], function(x) paste0(":", paste(charToRaw(x), collapse=""))), "\\n")')
    lines = subprocess.run(["Rscript", "-e", code], capture_output=True, text=True, check=True).stdout.splitlines()
    return [[bytes.fromhex(cell[1:]).decode() for cell in line.split()] for line in lines]


# ------------------------------------------------------------------------------------------------------------------- cells

@settings(deadline=None)
@given(nasty)
def test_a_safe_cell_is_no_formula_and_comes_back_as_it_was(text):
    assert restored(safe(text)) == text
    assert not safe(text).startswith(STARTS)
    assert not safe(text).lstrip().startswith(STARTS)
    assert safe(text).count("'") <= text.count("'") + 1


@settings(deadline=None)
@given(st.lists(st.tuples(nasty, nasty), min_size=1, max_size=5))
def test_any_text_survives_the_way_through_csv_and_pandas(rows):
    text = csv_text(("number", "first", "second"), [(number, *row) for number, row in enumerate(rows)])
    expected = [["number", "first", "second"], *([str(number), *map(safe, row)] for number, row in enumerate(rows))]
    assert by_csv(text) == expected
    assert by_pandas(text) == expected
    assert by_us(text) == [expected[0], *([str(number), *row] for number, row in enumerate(rows))]


def test_any_text_survives_the_way_through_r(tmp_path):
    if shutil.which("Rscript") is None:
        pytest.skip("R is not here")
    text = csv_text(("number", "text", "after"), [(number, cell, "end") for number, cell in enumerate(WHOLE)])
    expected = [[str(number), safe(cell).replace("\r\n", "\n").replace("\r", "\n"), "end"] for number, cell in enumerate(WHOLE)]
    assert by_r(text, tmp_path) == expected


def test_numbers_are_numbers_and_what_is_missing_is_an_empty_cell():
    text = csv_text(("a", "b", "c", "d", "e", "f"), [(-1, -0.25, None, float("nan"), True, 1e-17), (2**60, 1 / 3, "", 3.0, False, "-1")])
    assert text == "a,b,c,d,e,f\n-1,-0.25,,,yes,1e-17\n1152921504606846976,0.3333333333,,3,no,'-1\n"


# ----------------------------------------------------------------------------------------------------------------- reading

@pytest.mark.parametrize(("data", "told"), [
    (b"", "t.csv: empty"), (b"\xef\xbb\xbf", "t.csv: empty"), (b"a,b\n1,2,3\n", "t.csv: row 2: 3 cells under 2 columns"),
    (b"a,a\n1,2\n", "t.csv: column 'a' is there twice"), (b'a,b\n"x\ny",1\ncaf\xe9,2\n', "t.csv: row 4: not UTF-8 text"),
    (b"a,b\nx\0y,1\n", "t.csv: row 2: holds a NUL character"), (b'a,b\n"x,1\n', "t.csv: row 2: not CSV"),
    (b"c,d\n1,2\n", "t.csv: has no column a; its columns are c, d"),
    (b",".join(b"c%d" % number for number in range(60_000)), f"t.csv: row 1: 60000 columns, at most {MAX_COLUMNS} are read"),
    (b"a,b\n" + b"x" * (MAX_LINE_CHARS + 1), "t.csv: row 2: longer than 4 million characters")])
def test_a_faulty_table_is_refused_with_its_row(data, told):
    with pytest.raises(DataError) as caught:
        list(read_table(data, "t.csv", needed=("a",)))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("line", "told"), [
    ('{"a": "x\\u0000"}', "holds a NUL character"), ('{"a": "\\ud83d"}', "half of a character"), ('{"\\udc00": 1}', "half of a character"),
    ('{"a": ["\\udfff"]}', "half of a character"), ("[1]", "must be an object"), ("{", "not JSON"), ("[" * 100_000, "not JSON")])
def test_a_faulty_line_of_json_is_refused_with_its_row(line, told):
    with pytest.raises(DataError, match=r"t\.jsonl: row 3: ") as caught:
        list(read_table(f'{{"a": 1}}\n\n{line}\n'.encode(), "t.jsonl"))
    assert told in str(caught.value)


def test_text_of_json_may_hold_every_separator_of_lines_and_whole_characters_in_halves():
    text = "a\u2028b\u2029c\x85d\x0b\x0ce\x1cf"
    rows = list(read_json_lines(f'{json.dumps({"a": text}, ensure_ascii=False)}\n{json.dumps({"a": "🙂"})}\n'.encode(), "t"))
    assert rows == [(1, {"a": text}), (2, {"a": "🙂"})]


def test_rows_are_counted_as_a_text_editor_counts_lines_and_may_lack_their_last_cells():
    data = "a;b;c\n\n\"one\ntwo\";2\n\nx;y;z\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert list(read_table(data.encode(encoding), "t")) == [(3, {"a": "one\ntwo", "b": "2", "c": ""}),
                                                                (6, {"a": "x", "b": "y", "c": "z"})]
    assert list(read_csv_cells(b"a,b\n'=1,2", "t")) == [(1, ["a", "b"]), (2, ["'=1", "2"])]


def test_half_characters_and_nul_are_found_anywhere_in_a_value():
    assert fault_of_values({"a": [1, None, {"b": "🙂\n"}]}) is None
    assert "NUL" in fault_of_values({"a": [1, {"b": "\0"}]})
    assert "half" in fault_of_values({"\ud800": 1})


# ------------------------------------------------------------------------------------------------------ Markdown and LaTeX

def test_tables_for_readers_keep_one_row_a_line_and_run_nothing():
    rows = [["a|b\nc", "<img src=x onerror=alert(1)>"], ["[x](javascript:y)", "*a* _b_ c_d `e`"]]
    assert markdown_table(["one", "two"], rows) == (
        "| one | two |\n| --- | --- |\n| a\\|b c | \\<img src=x onerror=alert(1)> |\n"
        "| [x\\](javascript:y) | \\*a\\* \\_b\\_ c_d \\`e\\` |\n")
    latex = latex_table(["one", "two"], [[r"\input{/etc/passwd}", "50% & #1 $x$ a_b {c}"], None, ["~^", "a\nb"]], "A & B", "ll", ["a_note"])
    assert r"\textbackslash{}input\{/etc/passwd\} & 50\% \& \#1 \$x\$ a\_b \{c\} \\" in latex
    assert latex.count("\\hline\n") == 4
    assert r"\textasciitilde{}\textasciicircum{} & a b \\" in latex
    assert r"\caption{A \& B}" in latex
    assert r"\par a\_note" in latex


# ----------------------------------------------------------------------------------------------------- the studio's tables

SHORT = [text for text in dict.fromkeys(WHOLE) if text.strip() and len(text) < 40]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The store of a study whose items, instructions, edit types, methods, annotators and comments are the odd texts."""
    sa = pytest.importorskip("sqlalchemy")
    from mre.study import studies, visit
    from mre.study.answers import Answer
    from mre.study.design import Item, StudyDesign
    from mre.study.images import rebuild
    from mre.study.schema import annotators, answers
    from mre.study.store import Store
    picture = io.BytesIO()
    Image.new("RGB", (16, 16)).save(picture, "PNG")
    picture = rebuild(picture.getvalue())
    store = Store.open(tmp_path_factory.mktemp("store"))
    methods = ["=cmd", "a\nb", "NA"]
    found = [Item(text, SHORT[-number], text + ".", picture, dict.fromkeys(methods, picture)) for number, text in enumerate(SHORT)]
    design = StudyDesign(per_pair=2, repeats=0, checks=0, min_median_seconds=0.0,
                         pairs=((methods[0], methods[1]), (methods[1], methods[2])))
    studies.create_study(store, "s", design, found, methods)
    study, at_work, turn = studies.start(store, "s"), [], 0
    for _ in range(2):
        token, annotator = visit.enter(store, study.public_id)
        visit.consent(store, annotator)
        at_work.append(visit.visitor(store, token))
    while at_work:
        annotator = at_work[turn % len(at_work)]
        if shown := visit.work(store, annotator)["current"]:
            turn += 1
            visit.answer(store, annotator, shown["screen"], Answer(f"key-{turn:05d}", 0, ((1, 2, 3), (3, 4, 5))))
        else:
            at_work.remove(annotator)
    with store.write() as connection:       # a study may hold comments of before they were cleaned, and labels from other programs
        for number, found_id in enumerate(connection.execute(sa.select(answers.c.id).order_by(answers.c.id)).scalars().all()):
            connection.execute(answers.update().where(answers.c.id == found_id).values(comment=WHOLE[number % len(WHOLE)]))
        for label, new in (("a001", "=a\n1"), ("a002", "null")):
            connection.execute(annotators.update().where(annotators.c.label == label).values(label=new))
    studies.exclude(store, "s", "null", "asleep")
    yield store
    store.close()


def export_text(store, form: str) -> str:
    from mre.study.export import export
    out = io.StringIO(newline="")
    export(store, "s", out, form)
    return out.getvalue()


@pytest.mark.parametrize(("form", "rows_of_a_screen"), [("long", 6), ("wide", 2)])
def test_an_export_of_odd_texts_is_read_row_by_row_and_text_by_text(exported, tmp_path, form, rows_of_a_screen):
    text = export_text(exported, form)
    read = by_csv(text)
    assert {len(row) for row in read} == {len(read[0])}
    assert len(read) == 1 + 2 * 2 * len(SHORT) * rows_of_a_screen          # two pairs an item, two annotators a pair
    assert by_pandas(text) == read
    if shutil.which("Rscript"):
        assert by_r(text, tmp_path) == [[cell.replace("\r\n", "\n").replace("\r", "\n") for cell in row] for row in read[1:]]
    column = {name: {restored(row[place]) for row in read[1:]} for place, name in enumerate(read[0])}
    assert column["item"] == set(SHORT)
    assert column["instruction"] == {text + "." for text in SHORT}
    assert column["edit_type"] == {SHORT[-number] for number in range(len(SHORT))}
    assert column["method"] == {"=cmd", "a\nb", "NA"}
    assert column["annotator"] == {"=a\n1", "null"}
    assert column["comment"] >= set(WHOLE)
    assert {(restored(row[4]), row[-1]) for row in read[1:]} == {("=a\n1", "0"), ("null", "1")}
    assert read[0][-1] == "excluded"
    assert not [cell for row in read for cell in row if cell.startswith(STARTS)]


def test_an_export_of_odd_texts_as_json_lines_says_them_as_they_were(exported):
    lines = export_text(exported, "jsonl").split("\n")[:-1]
    rows = [json.loads(line) for line in lines]
    assert {row["item"] for row in rows} == set(SHORT)
    assert {row["comment"] for row in rows} >= set(WHOLE)
    assert {(row["annotator"], row["excluded"]) for row in rows} == {("=a\n1", False), ("null", True)}


@pytest.mark.parametrize("form", ["long", "wide", "jsonl"])
def test_an_export_of_odd_texts_comes_back_the_same_byte_by_byte(exported, tmp_path, form):
    from mre.study.importer import import_file
    from mre.study.store import Store
    path = tmp_path / ("s.jsonl" if form == "jsonl" else "s.csv")
    path.write_text(export_text(exported, form), encoding="utf-8", newline="")
    other = Store.open(tmp_path / "other")
    import_file(other, "s", path)
    assert export_text(other, form) == path.read_bytes().decode()
    other.close()


def test_judge_scores_and_edits_of_odd_texts_come_back_as_they_were(tmp_path):
    scores = pytest.importorskip("mre.benchmark.scores")
    given = [scores.Answer(item, method, "=judge", "1\n2", 0, "quality", 2.5, True, text, text + "\r", 1.5, None)
             for item, method, text in zip(SHORT, reversed(SHORT), SHORT, strict=True)]
    scores.write_scores(given, tmp_path)
    back = [row for _, row in read_table(tmp_path / "scores.csv", needed=JUDGE_SCORES)]
    assert [{**row, "repeat": int(row["repeat"]), "score": float(row["score"]), "accepted": row["accepted"] == "yes",
             "seconds": float(row["seconds"]), "cost_usd": None} for row in back] == [
        {name: getattr(one, name) for name in JUDGE_SCORES} for one in given]
    assert len(by_csv((tmp_path / "scores.csv").read_bytes().decode())) == 1 + len(given)


def test_a_sweep_of_odd_texts_is_read_row_by_row():
    sweep = pytest.importorskip("mre.sweep")
    from types import SimpleNamespace

    from mre.rewards import Reward
    rows = [(SimpleNamespace(place=(number, 0, 0), model="=m"), SimpleNamespace(seconds=1.25, settings=SimpleNamespace(
        instruction=text, reward=Reward(texts=("=a", "-1", "None")), seed=1, steps=2, guidance_scale=7.5, image_guidance_scale=1.5,
        scheduler="x", guidance_interval=None)), "f.png") for number, text in enumerate(WHOLE)]
    read = by_csv(sweep.to_csv(rows))
    assert [restored(row[4]) for row in read[1:]] == WHOLE
    assert {tuple(row[8:11]) for row in read[1:]} == {("'=a", "'-1", "None")}


def test_tables_of_comparisons_and_benchmarks_keep_odd_names():
    report, tables = pytest.importorskip("mre.agreement.report"), pytest.importorskip("mre.benchmark.tables")
    frame = pd.DataFrame({"item": WHOLE, "value": [-0.5, None] * (len(WHOLE) // 2) + [1.0] * (len(WHOLE) % 2), "n": range(len(WHOLE))})
    read = by_csv(report.csv_of(frame))
    assert [restored(row[0]) for row in read[1:]] == WHOLE
    assert read[1][1:] == ["-0.5", "0"]
    assert read[2][1:] == ["", "1"]
    table = tables.Table("t", "title", ["method", "score"], [[text, tables.Cell(-1.5, -2.0, -1.0, 3, 0)] for text in WHOLE])
    read = by_csv(table.csv())
    assert [restored(row[0]) for row in read[1:]] == ["" if text == "-" else text for text in WHOLE]
    assert read[1][1:] == ["-1.5", "-2", "-1", "3", "0"]
    assert len(table.markdown().splitlines()) == 4 + len(WHOLE) + 2
