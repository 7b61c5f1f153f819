"""python -m tests.other_pythons [PYTHON...]: the tests of tables on other Pythons, as far as each has what they need.

Without names: every python3.11, 3.12, ... on the PATH but the running one. An interpreter without pytest only writes and reads drawn texts
with `csv`, for which it needs nothing.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

from tests.conftest import ROOT

NEEDED = "import pytest, hypothesis, pandas, PIL, sqlalchemy, alembic"
BARE = """
import csv, io, random, sys
sys.path.insert(0, ".")
from mre.files import csv_text, restored
signs, draw = ['"', "'", ",", "\\n", "\\r", "\\t", "=", " ", "a", "\\u2028"], random.Random(0)
rows = [["".join(draw.choices(signs, k=draw.randrange(6))) for _ in range(3)] for _ in range(20_000)]
read = list(csv.reader(io.StringIO(csv_text("abc", rows), newline=""), strict=True))
assert [list(map(restored, row)) for row in read[1:]] == rows
print(f"{len(rows)} rows of drawn text on Python {sys.version.split()[0]}")
"""


def main(pythons: list[str]) -> int:
    others = (f"python3.{minor}" for minor in range(11, 20) if minor != sys.version_info.minor)
    pythons = pythons or [python for python in others if shutil.which(python)]
    failed = 0
    for python in pythons:
        complete = subprocess.run([python, "-c", NEEDED], capture_output=True).returncode == 0
        what = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_files.py"] if complete else ["-c", BARE]
        print(f"== {python}", flush=True)
        failed += subprocess.run([python, *what], cwd=ROOT).returncode != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
