"""Largest differences to the paper's released code and to SmartEdit's reference modules, as Markdown tables.

    python -m tests.bench.parity [FOLDER_OF_REFERENCE_DATA [THAT_OF_SMARTEDIT]]
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.conftest import SHARED
from tests.golden import Difference, Golden
from tests.golden_smartedit import SmartEditGolden


def table(differences: list[Difference]) -> str:
    """One row per kind of case and quantity, with the case that is furthest off."""
    rows = ["| quantity | values compared with | largest difference | in case | tolerance |", "| --- | --- | --- | --- | --- |"]
    for quantity in dict.fromkeys(one.quantity for one in differences):
        of_it = [one for one in differences if one.quantity == quantity]
        worst = max(of_it, key=lambda one: one.largest)
        rows.append(f"| {quantity} | {len(of_it)} tensors | {worst.largest:.1e} | {worst.case} | {worst.tolerance:.0e} |")
    return "\n".join(rows)


def main(folder: Path = SHARED / "parity", smartedit: Path = SHARED / "parity_smartedit") -> int:
    """Print the tables. Returns 1 if a difference is above its tolerance."""
    golden, of_smartedit = Golden(folder), SmartEditGolden(smartedit)
    failed = []
    for title, differences in (("U-Net", golden.unet_differences()), ("Pipeline", golden.pipeline_differences()),
                               ("Sampler of the evaluation", golden.scheduler_differences()),
                               *((f"SmartEdit: {title}", of_it()) for title, of_it in of_smartedit.kinds.items())):
        differences = list(differences)
        failed += [one for one in differences if not one.holds]
        print(f"{title}, {len({one.case for one in differences})} cases\n\n{table(differences)}\n")
    print("all within tolerance" if not failed else f"ABOVE TOLERANCE: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
