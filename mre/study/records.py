"""Studies as the store has them, found by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import Connection

from mre.errors import StudyError
from mre.study import assignment
from mre.study.design import StudyDesign, has_rules
from mre.study.schema import imports, studies

if TYPE_CHECKING:
    from mre.study.store import Store


@dataclass(frozen=True)
class Study:
    """A study as the store has it."""

    id: int
    name: str
    public_id: str
    version: int
    state: str
    design: StudyDesign
    digest: str | None
    created_at: int
    started_at: int | None
    closed_at: int | None
    order_secret: str | None = field(repr=False)        # null: the order comes from the design's public seed
    simulated: bool                                     # its annotators are simulated; no person can join
    before_rules: bool = False      # begun before studies stated rules of taking part: goes on without any (`design.BEFORE_RULES`)

    @classmethod
    def of(cls, row: sa.Row) -> Study:
        values = {key: value for key, value in row._mapping.items() if key != "design"}
        begun = row.state != "draft"
        return cls(design=StudyDesign.from_json(row.design, begun=begun), before_rules=begun and not has_rules(row.design), **values)

    @property
    def order(self) -> assignment.Order:
        """What sides, items, repeats and checks are drawn from."""
        return assignment.Order(self.order_secret, self.design.seed)

    @property
    def awaits_judge(self) -> bool:
        """Whether its first start needs a judge, which says of what pairs it would learn most."""
        return self.state == "draft" and self.design.serving != "random"

    @property
    def order_words(self) -> str:
        """Where the order comes from, and what may be known of it now."""
        if self.simulated:
            return f"drawn from the public seed {self.design.seed}, as in every simulated study"
        if self.order_secret is None:
            return ("will be drawn from a secret when the study starts" if self.state == "draft" else
                    f"drawn from the public seed {self.design.seed}, as this study began before orders were secret: annotators who know "
                    f"that could foresee sides; `study revise` makes a new version with a secret order")
        if not self.order.known:
            return f"cannot be rebuilt: exported before the study had closed, with {self.order_cell}"
        return (f"drawn from {self.order_cell}" if self.state == "closed" else
                f"drawn from a secret that exports tell once the study has closed; until then {self.order_cell}")

    @property
    def order_cell(self) -> int | str:
        """What exports say of the order now."""
        return self.order.cell(closed=self.state == "closed")


def all_studies(store: Store) -> list[Study]:
    with store.read() as connection:
        return [Study.of(row) for row in connection.execute(sa.select(studies).where(in_sight()).order_by(studies.c.id))]


def find_study(store: Store, name: str) -> Study:
    """The study of this name. Raises StudyError, naming the studies there are."""
    with store.read() as connection:
        return find(connection, name)


def find(connection: Connection, name: str) -> Study:
    """The same inside a transaction."""
    row = connection.execute(sa.select(studies).where(studies.c.name == name, in_sight())).first()
    if row is None:
        known = connection.execute(sa.select(studies.c.name).where(in_sight()).order_by(studies.c.id)).scalars().all()
        raise StudyError(f"no study is called {name!r}; there {'are ' + ', '.join(known) if known else 'is none yet'}")
    return Study.of(row)


def in_sight() -> sa.ColumnElement[bool]:
    """Not still being imported."""
    return studies.c.id.not_in(sa.select(imports.c.study_id))
