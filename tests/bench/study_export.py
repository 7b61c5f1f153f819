"""One million scores: python -m tests.bench.study_export [--scores 1000000] [--database URL]

Fills a store with drawn ratings, then measures the export's time and memory (in a process of its own) and the dashboard's figures.
To hold: export at most 30 s and 500 MB, figures at most 2 s.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from mre.study import studies
from mre.study.dashboard import dashboard
from mre.study.design import Item, StudyDesign
from mre.study.images import rebuild
from mre.study.schema import annotators, answers, assignments, pairs, ratings
from mre.study.store import Store

ANNOTATORS = 100


def fill(store: Store, scores: int) -> int:
    """Drawn ratings straight into the tables: ANNOTATORS annotators, as many items as it takes. Returns the number of scores."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "PNG")
    picture = rebuild(buffer.getvalue())
    count = scores // (6 * ANNOTATORS)
    found = [Item(f"item-{number:05d}", "local", f"make change {number}, and keep all the rest of the picture", picture,
                  {"a": picture, "b": picture}) for number in range(count)]
    studies.create_study(store, "million", StudyDesign(per_pair=1, repeats=0, checks=0), found, ["a", "b"])
    study = studies.start(store, "million")
    rng, now = np.random.default_rng(0), store.clock()
    with store.write() as connection:
        rows = connection.execute(sa.select(pairs).order_by(pairs.c.id)).all()
        connection.execute(assignments.delete().where(assignments.c.study_id == study.id))
    for number in range(ANNOTATORS):
        with store.write() as connection:
            person = connection.execute(annotators.insert().values(study_id=study.id, label=f"a{number:03d}", language="en", joined_at=now,
                                                                   consented_at=now)).inserted_primary_key[0]
            base = number * len(rows)
            connection.execute(assignments.insert(), [
                {"id": base + place + 1, "study_id": study.id, "pair_id": row.id, "kind": "main", "slot": number,
                 "side_order": place % 2, "shuffle_key": 1, "annotator_id": person, "screen": place + 1, "state": "done",
                 "first_shown_at": now + place, "revision": 1}
                for place, row in enumerate(rows)])
            connection.execute(answers.insert(), [
                {"id": base + place + 1, "study_id": study.id, "assignment_id": base + place + 1, "revision": 1, "is_final": True,
                 "idempotency_key": "bench-key", "submitted_at": now + place, "active_ms": 1000 + place, "comment": "", "viewport": "",
                 "app_version": "bench"} for place in range(len(rows))])
            drawn = rng.integers(0, 6, (len(rows), 2, 3)).tolist()
            connection.execute(ratings.insert(), [
                {"study_id": study.id, "answer_id": base + place + 1, "assignment_id": base + place + 1, "annotator_id": person,
                 "item_id": row.item_id, "method_id": (row.first_method, row.second_method)[(place + side) % 2], "kind": "main",
                 "shown_as": side + 1, "following": drawn[place][side][0], "preserving": drawn[place][side][1],
                 "quality": drawn[place][side][2], "is_final": True} for place, row in enumerate(rows) for side in (0, 1)])
    return ANNOTATORS * len(rows) * 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=int, default=1_000_000)
    parser.add_argument("--database")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(Path(folder), args.database)
        began = time.perf_counter()
        count = fill(store, args.scores)
        print(f"filled with {count} scores in {time.perf_counter() - began:.0f} s", flush=True)
        for turn in ("first", "second"):
            began = time.perf_counter()
            dashboard(store, "million")
            print(f"dashboard figures, {turn} time: {time.perf_counter() - began:.2f} s", flush=True)
        database = ["--database", args.database] if args.database else []
        for form in ([], ["--wide"], ["--jsonl"]):
            out = Path(folder) / "out"
            began = time.perf_counter()
            subprocess.run([sys.executable, "-m", "mre", "study", "export", "million", "--data", folder, *database, "--out", str(out),
                            *form], check=True, stdout=subprocess.DEVNULL)
            memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
            print(f"export {(form or ['long'])[0].strip('-')}: {time.perf_counter() - began:.1f} s, peak so far {memory:.0f} MB, "
                  f"{out.stat().st_size / 1e6:.0f} MB file", flush=True)
        store.close()


if __name__ == "__main__":
    main()
