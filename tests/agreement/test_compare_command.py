"""python -m mre compare: the files it writes, the real data, the paper's means, and bad input."""

from __future__ import annotations

import csv
import html.parser
import json
import re

import pytest

from mre.__main__ import main
from mre.agreement.comparison import COLUMNS, LEVELS, STATISTICS
from mre.agreement.report import file_name
from mre.rewards import PERSPECTIVES
from tests.processes import run_program

# Table 3 (people) and Table 1 (GPT-4o) of the paper: following, preserving, quality
PAPER = {"SmartEdit": ((3.09, 3.18, 2.58), (3.50, 3.70, 3.56)), "Reward-SmartEdit": ((3.34, 3.46, 2.73), (3.72, 4.00, 3.67))}


def run(*arguments: object) -> int:
    return main(["compare", *map(str, arguments)])


def rows_of(path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def whole_scores(mean: float, count: int = 100) -> list[int]:
    """`count` whole scores with exactly this mean of two decimals."""
    low = int(mean)
    higher = round((mean - low) * count)
    return [low + 1] * higher + [low] * (count - higher)


@pytest.fixture
def paper_files(tmp_path):
    """Long-form data built to the paper's twelve means: 100 items, whole scores."""
    people, judge = tmp_path / "human.csv", tmp_path / "judge.csv"
    with people.open("w") as left, judge.open("w") as right:
        left.write("item,method,annotator,perspective,score,scale_min,scale_max\n")
        right.write("item,method,judge,judge_version,repeat,perspective,score,accepted,text,raw,seconds,cost_usd\n")
        for method, (human, scored) in PAPER.items():
            for name, mine, theirs in zip(PERSPECTIVES, human, scored, strict=True):
                for i, (a, b) in enumerate(zip(whole_scores(mine), whole_scores(theirs), strict=True)):
                    left.write(f"i{i:03},{method},r1,{name},{a},0,5\n")
                    right.write(f"i{i:03},{method},gpt-4o,2024-08-06,1,{name},{b},yes,None,,1.5,0.01\n")
    return people, judge


def test_the_papers_means_give_its_biases_and_the_same_order_on_all_three(paper_files, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(*paper_files, "--out", out, "--bootstrap", 50, "--methods", "SmartEdit,Reward-SmartEdit") == 0
    said = capsys.readouterr().out
    assert ("gpt-4o minus people, (following / preserving / quality): SmartEdit +0.41 / +0.52 / +0.98; "
            "Reward-SmartEdit +0.38 / +0.54 / +0.94; same order on all three.") in said
    biases = {(row["group"], row["perspective"]): float(row["value"]) for row in rows_of(out / "agreement.csv")
              if (row["level"], row["statistic"]) == ("method", "bias")}
    for method, expected in {"SmartEdit": (0.41, 0.52, 0.98), "Reward-SmartEdit": (0.38, 0.54, 0.94)}.items():
        assert [biases[method, name] for name in PERSPECTIVES] == pytest.approx(expected, abs=1e-9)
    assert "same order on all three" in (out / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def real(shared, tmp_path_factory):
    """The command on the real data, scheme viescore."""
    out = tmp_path_factory.mktemp("real")
    folder = shared / "human_vs_gpt4o"
    assert run(folder / "human_ratings.csv", folder / "judge_scores.csv", "--out", out, "--scheme", "viescore", "--bootstrap", 10) == 0
    return out, json.loads((folder / "golden.json").read_text(encoding="utf-8"))["golden"]


def test_the_table_has_the_promised_columns_levels_and_statistics(real):
    rows = rows_of(real[0] / "agreement.csv")
    assert ",".join(rows[0]) == ",".join(COLUMNS) == "scheme,judge,perspective,level,group,statistic,value,low,high,n,note"
    assert {row["level"] for row in rows} == set(LEVELS)
    assert {row["statistic"] for row in rows} == set(STATISTICS)
    assert len({(row["judge"], row["perspective"], row["level"], row["group"], row["statistic"]) for row in rows}) == len(rows)
    for row in rows:
        assert row["value"] or row["note"].startswith("undefined: "), row
        if row["low"]:
            assert float(row["low"]) <= float(row["high"]), row


def test_the_table_of_the_real_data_holds_the_golden_values(real):
    out, golden = real
    found = {(row["perspective"], row["level"], row["group"], row["statistic"]): float(row["value"]) if row["value"] else None
             for row in rows_of(out / "agreement.csv")}
    expected = {}
    for aspect in ("SC", "PQ", "O"):
        pooled, order = golden["judge_vs_human_pooled_8_methods"][aspect], golden["rank_consistency_8_methods"][aspect]
        expected |= {
            (aspect, "item", "MagicBrush", "spearman"): golden["judge_vs_human"]["MagicBrush"][aspect]["spearman"],
            (aspect, "item", "MagicBrush", "loa_low"): golden["judge_vs_human"]["MagicBrush"][aspect]["bland_altman_lower"],
            (aspect, "item", "all", "kendall_tau_b"): pooled["kendall_tau_b"], (aspect, "item", "all", "lin_ccc"): pooled["lin_ccc"],
            (aspect, "within_method", "all", "spearman_fisher_mean"):
                golden["judge_vs_human_aggregate_spearman_8_methods"][aspect]["fisher_mean"],
            (aspect, "within_method", "all", "spearman_tanh_mean"):
                golden["judge_vs_human_aggregate_spearman_8_methods"][aspect]["tanh_of_mean_rho"],
            (aspect, "within_method", "all", "human_loo_spearman"):
                golden["human_human_aggregate_8_methods"][aspect]["fisher_over_all_rater_method_cells"],
            (aspect, "annotators", "Imagic", "krippendorff_ordinal"):
                golden["inter_annotator"]["Imagic"][aspect]["krippendorff_alpha_ordinal"],
            (aspect, "annotators", "all", "icc_2_k"): golden["inter_annotator_pooled_9_methods"][aspect]["ICC2k"],
            (aspect, "method", "all", "rank_tau_b"): order["kendall_tau_b"],
            (aspect, "method", "SDEdit", "mean_human"): order["human_mean"]["SDEdit"],
            (aspect, "method", "all", "bias"): order["bias_overall_mean_of_methods"],
            (aspect, "pair", "all", "accuracy_decided"):
                golden["pairwise_agreement_8_methods"][aspect]["accuracy_without_ties_decided_only"]}
    assert {key: found[key] for key in expected} == pytest.approx(expected, abs=1e-6)
    assert found["SC", "annotators", "Imagic", "krippendorff_ordinal"] is None


class Loads(html.parser.HTMLParser):
    """Collects everything that a page would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.found += [tag] * (tag in ("script", "iframe", "object", "link"))
        self.found += [value for name in ("src", "href") if (value := given.get(name)) and not value.startswith("data:")]
        self.found += [name for name in given if name.startswith("on")]


def test_the_report_opens_offline_and_runs_nothing(real):
    page = Loads()
    page.feed((real[0] / "report.html").read_text(encoding="utf-8"))
    assert page.found == []


def test_latex_and_csv_show_the_same_numbers(real):
    with_limits = rows_of(real[0] / "tables" / "summary.csv")[0]
    shown = f"{float(with_limits['bias']):.3f} [{float(with_limits['bias_low']):.3f}, {float(with_limits['bias_high']):.3f}]"
    latex = (real[0] / "tables" / "summary.tex").read_text(encoding="utf-8")
    assert shown in latex
    body = latex.split("\\hline\n")
    assert {line.count(" & ") for line in (body[1] + body[2]).strip().split("\n")} == {body[1].count(" & ")}
    for path in (real[0] / "tables").glob("*.tex"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?<!\\)[%#$_^~]", text), path.name
        assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}"), path.name


def test_plots_have_axes_that_end_with_the_scale_and_hold_no_script(real):
    plots = sorted((real[0] / "plots").glob("*.svg"))
    assert len(plots) == 9
    for path in plots:
        text = path.read_text(encoding="utf-8")
        assert text.startswith("<svg")
        assert "<script" not in text
        assert ">1.0</text>" in text


def test_the_same_input_and_seed_give_the_same_bytes(paper_files, tmp_path):
    for out in ("one", "two"):
        run(*paper_files, "--out", tmp_path / out, "--bootstrap", 10, "--seed", 5)
    files = [sorted(path for path in (tmp_path / out).rglob("*") if path.is_file()) for out in ("one", "two")]
    assert [path.name for path in files[0]] == [path.name for path in files[1]]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(*files, strict=True))


def test_names_from_files_cannot_leave_the_folder_or_enter_the_page(tmp_path):
    evil = "../../x<script>alert(1)</script>$a_b$"
    people, judge = tmp_path / "h.csv", tmp_path / "j.csv"
    people.write_text("item,method,annotator,quality,scale_max\n"
                      + "".join(f"i{i},{evil},r{r},{i % 5},5\n" for i in range(8) for r in "12"))
    judge.write_text("item,method,judge,perspective,score,scale_max\n"
                     + "".join(f"i{i},{evil},=1+1 {evil},quality,{i % 4},5\n" for i in range(8)))
    out = tmp_path / "out"
    assert run(people, judge, "--out", out, "--bootstrap", 20) == 0
    assert {path.parent for path in out.rglob("*.svg")} == {out / "plots"}
    assert "<script" not in (out / "report.html").read_text(encoding="utf-8")
    assert all(row["judge"].startswith("'=") for row in rows_of(out / "agreement.csv"))


def test_names_of_the_same_odd_characters_in_another_order_are_files_of_their_own():
    names = ["scatter_v1:2/3_quality", "scatter_v1/2:3_quality", "scatter_\u7532\u4e59_quality", "scatter_\u4e59\u7532_quality"]
    assert len({file_name(name) for name in names}) == 4


def test_only_items_that_people_rated_are_resampled_and_counted(tmp_path, capsys):
    people, judge, edits = tmp_path / "h.csv", tmp_path / "j.csv", tmp_path / "edits.csv"
    people.write_text("item,method,annotator,quality,scale_max\n" + "".join(f"i{i},m,r,{(i * 7) % 6},5\n" for i in range(12)))
    judge.write_text("item,method,judge,perspective,score,scale_max\n" + "".join(f"i{i},m,J,quality,{(i * 5) % 6},5\n" for i in range(12)))
    assert run(people, judge, "--bootstrap", 50) == 0
    alone = capsys.readouterr().out
    edits.write_text("item,edit_type,instruction,original,method,edited\n"
                     + "".join(f"i{i},add,add a cat,o{i}.png,m,e{i}.png\n" for i in range(10, 400)))
    judge.write_text(judge.read_text() + "".join(f"i{i},m,J,quality,{i % 6},5\n" for i in range(20, 400)))
    assert run(people, judge, "--bootstrap", 50, "--edits", edits) == 0
    beside_others = capsys.readouterr().out
    assert "draws of 12 items" in alone
    assert beside_others == alone


def test_several_judges_stand_side_by_side_and_one_can_be_chosen(paper_files, tmp_path, capsys):
    people, judge = paper_files
    text = judge.read_text()
    judge.write_text(text + "".join(line.replace("gpt-4o", "other") + "\n" for line in text.split("\n")[1:-1]))
    run(people, judge, "--bootstrap", 0, "--out", tmp_path / "both")
    assert {row["judge"] for row in rows_of(tmp_path / "both" / "agreement.csv")} == {"gpt-4o", "other"}
    assert [float(row["spearman"]) for row in rows_of(tmp_path / "both" / "tables" / "judges.csv")] == pytest.approx([1, 1, 1])
    run(people, judge, "--bootstrap", 0, "--judge", "other", "--out", tmp_path / "one")
    assert {row["judge"] for row in rows_of(tmp_path / "one" / "agreement.csv")} == {"other"}


@pytest.mark.parametrize(("change", "message"), [
    (lambda people, judge: people.write_text(""), "error: human.csv: the file is empty"),
    (lambda people, judge: judge.write_text(judge.read_text().replace(",", ";")), "error: judge.csv row 1: columns are separated by"),
    (lambda people, judge: people.write_bytes(people.read_text().encode("utf-16")), "error: human.csv row 1: the file is UTF-16"),
    (lambda people, judge: judge.write_text(judge.read_text().replace("\ni", "\nz")), "error: no edit is in both files: human.csv has 200"),
    (lambda people, judge: judge.unlink(), "no such file"),
])
def test_bad_input_ends_in_one_line_and_exit_code_1(paper_files, capsys, change, message):
    people, judge = paper_files
    change(people, judge)
    assert run(people, judge) == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_faulty_rows_are_told_and_the_rest_is_compared(paper_files, tmp_path, capsys):
    people, judge = paper_files
    people.write_text(people.read_text() + "i000,SmartEdit,r1,quality,9,0,5\ni001,SmartEdit,r1,folowing,3,0,5\n")
    assert run(people, judge, "--bootstrap", 0) == 0
    said = capsys.readouterr()
    assert "human.csv row 602: score 9 is outside 0 to 5; left out" in said.err
    assert "human.csv row 603: perspective 'folowing' is none of following, preserving, quality" in said.err
    assert "same order on all three" in said.out


def test_constant_scores_one_method_and_one_annotator_leave_reasons_and_not_zeros(tmp_path):
    people, judge = tmp_path / "h.csv", tmp_path / "j.csv"
    people.write_text("item,method,annotator,quality,scale_max\n" + "".join(f"i{i},m,r,3,5\n" for i in range(6)))
    judge.write_text("item,method,judge,perspective,score,scale_max\n" + "".join(f"i{i},m,j,quality,{i % 5},5\n" for i in range(6)))
    assert run(people, judge, "--out", tmp_path / "out", "--bootstrap", 20) == 0
    rows = {(row["level"], row["group"], row["statistic"]): row for row in rows_of(tmp_path / "out" / "agreement.csv")}
    for key, reason in ((("item", "all", "spearman"), "undefined: all scores of people are 3"),
                        (("annotators", "all", "icc_2_1"), "undefined: one annotator"),
                        (("method", "all", "rank_tau_b"), "undefined: fewer than two methods have both sides"),
                        (("pair", "all", "accuracy_decided"), "undefined: no pair was decided by both")):
        assert (rows[key]["value"], rows[key]["note"]) == ("", reason)
    assert rows["item", "all", "bias"]["value"]


def test_help_shows_an_example_that_runs(paper_files, tmp_path):
    text = run_program("-m", "mre", "compare", "--help")
    example = re.findall(r"python -m mre (compare .*)", text)[-1].split()
    places = dict(zip(("human_ratings.csv", "judge_scores.csv"), paper_files, strict=True)) | {"comparison": tmp_path / "comparison"}
    arguments = [str(places.get(part, part)) for part in example]
    assert main([*arguments, "--bootstrap", "10"]) == 0
