"""Tables, figures and plots of a comparison as readers see them: cells with their limits, captions, CSV, LaTeX and HTML."""

from __future__ import annotations

import base64
import html
import math
import re
from typing import TYPE_CHECKING

import pandas as pd

from mre.files import csv_text, latex_table

if TYPE_CHECKING:
    from mre.agreement.comparison import Comparison

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
SHOWN_ROWS = 60                 # of a table in the report; its CSV has all
P_COLUMN = re.compile(r"(^|_)p(_|$)")


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
