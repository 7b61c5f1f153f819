"""A comparison written out: CSV, LaTeX and SVG files, and one HTML report that opens offline."""

from __future__ import annotations

import base64
import html
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from mre.agreement.comparison import Comparison
from mre.agreement.comparison_tables import all_tables, verdict
from mre.agreement.plots import all_plots
from mre.files import csv_text, latex_table, write_whole
from mre.version import __version__

CAPTIONS = {
    "summary": "Agreement per judge and perspective, beside the human ceiling",
    "coverage": "What stands behind each figure",
    "methods": "Means, ranks and Bradley-Terry ratings of methods (Elo depends on the order of votes and is shown for comparison alone)",
    "edit_types": "Agreement by edit type",
    "annotators": "Annotator and judge against the mean of the other annotators (Spearman)",
    "order": "Two methods on one item: accuracy of the judge's order under each rule for ties",
    "method_tests": "Methods against each other",
    "closeness": "How close scores are, and what calibration would change",
    "judges": "Judges against each other",
    "stability": "The same judge, run several times",
    "calls": "What judging took",
    "missing": "Unmatched rows",
    "missing_rules": "Figures under each rule for edits that the judge did not score",
    "disagreements": "Largest differences",
}
UNFOLDED_ROWS = 12              # longer tables are folded away
SHOWN_ROWS = 60                 # of a table in the report; its CSV has all
P_COLUMN = re.compile(r"(^|_)p(_|$)")
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#222;margin:0 auto;max-width:1180px;padding:16px}
h1{font-size:1.5em}h2{font-size:1.15em;margin:1.8em 0 .4em}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:13px}th,td{padding:3px 9px;border-bottom:1px solid #e2e2e2;text-align:left;
vertical-align:top}th{background:#f5f5f5;position:sticky;top:0}td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(290px,1fr));gap:12px}.plots img{width:100%;max-width:460px}
.verdict{background:#eef4fb;border-left:4px solid #2563a8;padding:8px 12px;margin:8px 0}li{margin:2px 0}
summary{cursor:pointer;font-weight:600;margin:1em 0 .4em}small,.note{color:#666}
"""


def csv_of(table: pd.DataFrame) -> str:
    """The table as CSV: `.` decimals with 10 significant digits, empty = missing."""
    return csv_text(list(table.columns), table.astype(object).where(table.notna(), None).itertuples(index=False, name=None))


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The table as text for readers: values with their limits in one cell, three decimals, a dash for what is undefined."""
    columns = {}
    for column in table.columns:
        if column.endswith(("_low", "_high")) and column.rsplit("_", 1)[0] in table and f"{column.rsplit('_', 1)[0]}_low" in table:
            continue
        if f"{column}_low" in table and f"{column}_high" in table:
            cells = [_with_limits(*cell) for cell in zip(table[column], table[f"{column}_low"], table[f"{column}_high"], strict=True)]
        else:
            cells = [cell_text(cell, bool(P_COLUMN.search(column))) for cell in table[column]]
        columns[column.replace("_", " ")] = cells
    return pd.DataFrame(columns)


def _with_limits(value, low, high) -> str:
    limits = "" if _absent(low) or _absent(high) else f" [{low:.3f}, {high:.3f}]"
    return cell_text(value) + limits


def _absent(cell) -> bool:
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def cell_text(cell, is_p: bool = False) -> str:
    """One cell for readers."""
    if _absent(cell) or cell is pd.NA:
        return "–"
    if isinstance(cell, str) or not hasattr(cell, "__float__"):
        return str(cell)
    number = float(cell)
    if is_p:
        return f"{number:.3f}" if number >= 0.001 else f"{number:.1e}"
    return f"{number:g}" if number == int(number) and abs(number) < 1e9 else f"{number:.3f}"


def latex_of(table: pd.DataFrame, caption: str = "") -> str:
    """The table as LaTeX, numbers to the right."""
    text = shown(table)
    numeric = [pd.api.types.is_numeric_dtype(table[column]) for column in table.columns if column.replace("_", " ") in text]
    return latex_table(list(text.columns), map(list, text.itertuples(index=False, name=None)), caption,
                       "".join("lr"[number] for number in numeric))


def html_table(table: pd.DataFrame, rows: int = SHOWN_ROWS) -> str:
    """The table as escaped HTML in a box that scrolls sideways."""
    text = shown(table.head(rows))
    numeric = [pd.api.types.is_numeric_dtype(table[column]) for column in table.columns if column.replace("_", " ") in text]
    head = "".join(f"<th>{html.escape(column)}</th>" for column in text.columns)
    body = "".join("<tr>" + "".join(f"<td{' class=n' if number else ''}>{html.escape(cell)}</td>" for cell, number in
                                    zip(row, numeric, strict=True)) + "</tr>" for row in text.itertuples(index=False))
    more = f"<p class=note>{len(table) - rows} more rows are in the CSV file.</p>" if len(table) > rows else ""
    return f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}"


def image_tag(svg: str, description: str) -> str:
    """The plot as a picture that carries its own data."""
    data = base64.b64encode(svg.encode()).decode()
    return f'<img src="data:image/svg+xml;base64,{data}" alt="{html.escape(description)}" title="{html.escape(description)}">'


def settings_lines(comparison: Comparison) -> list[str]:
    """How the figures came about, a line each."""
    sides, options = comparison.sides, comparison.options
    scheme = ("scheme mre: perspective by perspective, scores on 0-5" if options.scheme == "mre" else
              "scheme viescore: SC = min(following, preserving), PQ = min(quality, naturalness, artifacts), O = sqrt(SC PQ), on 0-1")
    return [scheme, *sides.scales, comparison.interval_rule,
            "correlations within methods are the Fisher mean over methods; pooled ones mix in differences between methods",
            "scores are rounded to 9 decimals before ranking; undefined figures are left empty, with the reason in the note"]


def html_report(comparison: Comparison, tables: Mapping[str, pd.DataFrame], plots: Mapping[str, tuple[str, str]]) -> str:
    """The whole report in one file, with nothing to load from anywhere."""
    def listed(lines) -> str:
        return "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>"
    parts = [f"<h1>People and judges on the same edits</h1><p class=note>MRE Studio {html.escape(__version__)}</p>"]
    parts += [f"<p class=verdict>{html.escape(verdict(comparison, judge))}</p>" for judge in comparison.sides.judges]
    parts += ["<h2>How it was computed</h2>", listed(settings_lines(comparison))]
    if comparison.sides.notices:
        parts += ["<h2>What was left out or looks odd</h2>", listed(comparison.sides.notices)]
    for kind, title in (("scatter", "Judge against people"), ("difference", "Difference against mean"),
                        ("methods", "Methods (ranks: people | judge)"), ("edit_types", "Bias by edit type")):
        images = [image_tag(svg, description) for name, (description, svg) in plots.items() if name.startswith(kind)]
        if images:
            parts.append(f"<h2>{html.escape(title)}</h2><div class=plots>{''.join(images)}</div>")
    for name, table in tables.items():
        parts.append(f"<h2>{html.escape(CAPTIONS[name])}</h2>{html_table(table)}" if len(table) <= UNFOLDED_ROWS else
                     f"<details><summary>{html.escape(CAPTIONS[name])} ({len(table)} rows)</summary>{html_table(table)}</details>")
    figures = comparison.agreement().drop(columns="scheme")
    parts.append(f"<details><summary>All {len(figures)} figures</summary>{html_table(figures, rows=5000)}</details>")
    return (f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
            f"<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
            f"<title>People and judges</title><style>{STYLE}</style><body>{''.join(parts)}</body></html>\n")


def report_files(comparison: Comparison, tables: Mapping[str, pd.DataFrame] | None = None,
                 drawn: Sequence[tuple[str, str, str]] | None = None) -> dict[str, str]:
    """All files of the report by their names: `agreement.csv`, `report.html`, `tables/*.csv|tex`, `plots/*.svg`. Tables and plots that are
    made already can be handed in."""
    tables = all_tables(comparison) if tables is None else tables
    made = all_plots(comparison, tables.get("edit_types", pd.DataFrame())) if drawn is None else drawn
    plots = {file_name(name): (description, svg) for name, description, svg in made}
    files = {"agreement.csv": csv_of(comparison.agreement()), "report.html": html_report(comparison, tables, plots)}
    for name, table in tables.items():
        files[f"tables/{name}.csv"] = csv_of(table)
        files[f"tables/{name}.tex"] = latex_of(table, CAPTIONS[name])
    return files | {f"plots/{name}.svg": svg for name, (_, svg) in plots.items()}


def file_name(name: str) -> str:
    """A name that every file system takes; names that differ only in odd characters stay apart by a number of their own."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:100]
    return plain if plain == name else f"{plain}-{sum(map(ord, name)) % 9973}"


def write_report(comparison: Comparison, folder: Path) -> list[Path]:
    """Writes all files under `folder`. Raises DataError where it cannot be written."""
    written = []
    for name, text in report_files(comparison).items():
        write_whole(folder / name, text)
        written.append(folder / name)
    return written
