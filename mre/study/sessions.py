"""Who is signed in: rows of the database, so that a session that was ended is over on the server, whatever cookie somebody kept."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from mre.study.schema import sessions, visits

if TYPE_CHECKING:
    from mre.study.store import Store

SESSION_DAYS = 14


@dataclass(frozen=True)
class Session:
    """A session as the database holds it. `account` None: a visitor who followed an invitation link."""

    digest: str
    account: str | None
    mark: str | None            # of the account's password when the session began
    expires_at: int             # milliseconds since 1970


def begin(store: Store, account: str | None = None, mark: str | None = None) -> str:
    """Begin a session: the token for the browser's cookie, of which only a digest is stored. Sessions that are over are forgotten."""
    token, now = secrets.token_urlsafe(32), store.clock()
    with store.write() as connection:
        connection.execute(sessions.delete().where(sessions.c.expires_at < now))
        connection.execute(sessions.insert().values(token_digest=token_digest(token), account=account, mark=mark, created_at=now,
                                                    expires_at=now + SESSION_DAYS * 86_400_000))
    return token


def find(store: Store, digest: str) -> Session | None:
    """The session behind a cookie's digest, while it lasts."""
    query = sa.select(sessions.c.token_digest, sessions.c.account, sessions.c.mark, sessions.c.expires_at)
    with store.read() as connection:
        row = connection.execute(query.where(sessions.c.token_digest == digest)).first()
    return Session(*row) if row and row.expires_at > store.clock() else None


def end(store: Store, digest: str) -> None:
    """End one session, and the visits to studies that began in it."""
    with store.write() as connection:
        connection.execute(visits.delete().where(visits.c.session_digest == digest))
        connection.execute(sessions.delete().where(sessions.c.token_digest == digest))


def end_all(store: Store, account: str | None = None) -> int:
    """End all sessions of an account (None: of everybody), and the visits to studies that began in them. Returns how many there were."""
    chosen = sa.select(sessions.c.token_digest)
    if account is not None:
        chosen = chosen.where(sessions.c.account == account)
    with store.write() as connection:
        connection.execute(visits.delete().where(visits.c.session_digest.in_(chosen)))
        return connection.execute(sessions.delete().where(sessions.c.token_digest.in_(chosen))).rowcount


def tie_visit(store: Store, visit_token: str, digest: str) -> None:
    """Let a visit to a study end with the session in which it began."""
    with store.write() as connection:
        connection.execute(visits.update().where(visits.c.token_digest == token_digest(visit_token)).values(session_digest=digest))


def session_of_visit(store: Store, visit_token: str) -> str | None:
    """Digest of the session that a visit ends with; None for one that began without an account."""
    with store.read() as connection:
        return connection.execute(sa.select(visits.c.session_digest).where(visits.c.token_digest == token_digest(visit_token))).scalar()


def token_digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
