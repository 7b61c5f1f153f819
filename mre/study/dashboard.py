"""How a study stands: all its tables as plain data."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from mre.study.coverage import coverage, skipped_pairs
from mre.study.figures import annotator_figures, method_means, position_bias, totals
from mre.study.records import find_study

if TYPE_CHECKING:
    from mre.study.store import Store


def dashboard(store: Store, name: str) -> dict:
    """Coverage, annotators, method means and position bias as plain data; agreement is asked for apart, as it is resampled."""
    known, study = totals(store, name), find_study(store, name)
    return {"study": {"name": name, "state": study.state, "simulated": study.simulated, "order_seed": study.order_cell,
                      "order": study.order_words},
            "coverage": asdict(coverage(store, name)), "skipped_pairs": [asdict(pair) for pair in skipped_pairs(store, name)],
            "annotators": [asdict(row) for row in annotator_figures(store, name, known)],
            "methods": method_means(store, name).to_dict("records"),
            "position_bias": {perspective: asdict(figure) for perspective, figure in position_bias(store, name, known).items()}}
