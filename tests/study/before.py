"""A store as the version before left it (schema 0001), on either database: `store_0001.json` holds its rows, written by that version.

Studies of four items, methods tiny and tiny-baseline: `draft`; `people`, running, where a001 has answered two screens and a002 one;
`mixed`, where `simulate` made drawn-001 and drawn-002 and then a person, a003, joined and answered three; `walkthrough`, with the two
simulated annotators alone.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

import mre.study

ROWS = Path(__file__).parent / "store_0001.json"


def fill_as_before(url: str, rows_by_table: dict[str, list[dict]] | None = None) -> None:
    """Make the tables of schema 0001 in an empty database, and their rows (None: those of `store_0001.json`)."""
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg") if url.startswith("postgresql") else url)
    config = Config()
    config.set_main_option("script_location", str(Path(mre.study.__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        tables = sa.MetaData()
        tables.reflect(connection)
        for name, rows in (rows_by_table or json.loads(ROWS.read_text())).items():
            if rows:
                connection.execute(tables.tables[name].insert(), [
                    {key: base64.b64decode(value["bytes"]) if isinstance(value, dict) else value for key, value in row.items()}
                    for row in rows])
            if engine.name == "postgresql" and "id" in tables.tables[name].c:
                connection.execute(sa.text(f"select setval(pg_get_serial_sequence('{name}', 'id'), (select max(id) from {name}))"))
    engine.dispose()
