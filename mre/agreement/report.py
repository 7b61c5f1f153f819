"""A comparison written out: CSV, LaTeX and SVG files, and one HTML report that opens offline."""

from __future__ import annotations

import hashlib
import html
import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from mre.agreement.comparison_tables import all_tables, verdict
from mre.agreement.plots import all_plots
from mre.agreement.shown import CAPTIONS, csv_of, html_table, image_tag, latex_of, settings_lines
from mre.files import write_whole
from mre.version import __version__

if TYPE_CHECKING:
    from mre.agreement.comparison import Comparison

UNFOLDED_ROWS = 12              # longer tables are folded away
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#222;margin:0 auto;max-width:1180px;padding:16px}
h1{font-size:1.5em}h2{font-size:1.15em;margin:1.8em 0 .4em}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:13px}th,td{padding:3px 9px;border-bottom:1px solid #e2e2e2;text-align:left;
vertical-align:top}th{background:#f5f5f5;position:sticky;top:0}td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(290px,1fr));gap:12px}.plots img{width:100%;max-width:460px}
.verdict{background:#eef4fb;border-left:4px solid #2563a8;padding:8px 12px;margin:8px 0}li{margin:2px 0}
summary{cursor:pointer;font-weight:600;margin:1em 0 .4em}small,.note{color:#666}
"""


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


def downloads(comparison: Comparison, tables: Mapping[str, pd.DataFrame], drawn: Sequence[tuple[str, str, str]]) -> dict[str, bytes]:
    """Files to download: one ZIP with everything, the report, and the main table."""
    files = report_files(comparison, tables, drawn)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(f"comparison/{name}"), text.encode(), zipfile.ZIP_DEFLATED)
    return {"comparison.zip": packed.getvalue(), **{name: files[name].encode() for name in ("report.html", "agreement.csv")}}


def file_name(name: str) -> str:
    """A name that every file system takes; names that differ only in odd characters stay apart by a digest."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:100]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def write_report(comparison: Comparison, folder: Path) -> list[Path]:
    """Writes all files under `folder`. Raises DataError where it cannot be written."""
    written = []
    for name, text in report_files(comparison).items():
        write_whole(folder / name, text)
        written.append(folder / name)
    return written
