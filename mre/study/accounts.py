"""Who may do what: accounts in a file, with passwords only as scrypt hashes, and signed invitation links.

Roles: a `visitor` edits photos; an `annotator` scores studies; a `researcher` may do everything.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from itsdangerous import BadData, URLSafeTimedSerializer

from mre.errors import SettingsError, StudyError

ROLES = ("visitor", "annotator", "researcher")
MIN_PASSWORD = 8
MAX_PASSWORD = 200
_COST = {"n": 2**14, "r": 8, "p": 1}        # 16 MB and some 50 ms for each guess
STORED = r"scrypt:[0-9a-f]{32}:[0-9a-f]{64}"
_NOBODY = "scrypt:" + "00" * 16 + ":" + "00" * 32


@dataclass(frozen=True)
class Invitation:
    """What an invitation link says. `study` is a study's public id, empty for a visitor's link."""

    role: str
    study: str
    id: str                 # personal links: always the same annotator; empty: a link for many people


def may(role: str | None, needed: str) -> bool:
    """Whether somebody with `role` may do what is for `needed`."""
    return role is not None and role in (needed, "researcher")


# --------------------------------------------------------------------------------------------------------------- accounts

class Accounts:
    """The accounts of a file, read again whenever it changes."""

    def __init__(self, path: Path) -> None:
        """Raises SettingsError for a file that is not there or not ours."""
        self.path = path
        self._stamp: tuple[int, int] | None = None
        self._known: dict[str, dict[str, str]] = {}
        self._read()

    def check(self, name: str, password: str) -> str | None:
        """The role of this account when the password is right, else None. An unknown name takes as long as a wrong password."""
        account = self._read().get(name)
        right = password_fits(password, account["password"] if account else _NOBODY)
        return account["role"] if account and right else None

    def role(self, name: str, mark: str) -> str | None:
        """The role of an account in a session that began with `mark`; None once the account is gone or its password has changed."""
        account = self._read().get(name)
        return account["role"] if account and hmac.compare_digest(mark, self.mark(name)) else None

    def mark(self, name: str) -> str:
        """What ties a session to the account's present password without telling anything about it."""
        account = self._read().get(name)
        return hashlib.sha256(("session:" + account["password"]).encode()).hexdigest()[:16] if account else ""

    def _read(self) -> dict[str, dict[str, str]]:
        try:
            found = self.path.stat()
            if self._stamp != (found.st_mtime_ns, found.st_size):
                self._known = read_accounts(self.path)
                self._stamp = (found.st_mtime_ns, found.st_size)
        except OSError as error:
            raise SettingsError(f"auth: {self.path}: cannot be read ({error.strerror}); `study account` makes one") from error
        return self._known


def read_accounts(path: Path) -> dict[str, dict[str, str]]:
    """Accounts by name. Raises SettingsError naming the account with a fault."""
    try:
        accounts = dict(json.loads(path.read_text(encoding="utf-8"))["accounts"])
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"auth: {path}: is no accounts file as `study account` writes it") from error
    for name, account in accounts.items():
        if not isinstance(account, dict) or account.get("role") not in ROLES or not re.fullmatch(STORED, str(account.get("password"))):
            raise SettingsError(f"auth: {path}: account {name!r} needs a role ({', '.join(ROLES)}) and a scrypt password")
    return accounts


def write_account(path: Path, name: str, role: str, password: str) -> None:
    """Add an account, or change its role and password. The file is readable by its owner alone."""
    if role not in ROLES:
        raise SettingsError(f"role must be one of {', '.join(ROLES)}, got {role!r}")
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise SettingsError("an account's name must have 1 to 100 printable characters")
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise SettingsError(f"a password must have {MIN_PASSWORD} to {MAX_PASSWORD} characters")
    accounts = read_accounts(path) if path.exists() else {}
    accounts[name] = {"role": role, "password": hashed(password)}
    partial = path.with_name(f".{path.name}.part")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump({"accounts": accounts}, file, ensure_ascii=False, indent=1, sort_keys=True)
        partial.replace(path)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written ({error.strerror})") from error


def hashed(password: str) -> str:
    salt = secrets.token_bytes(16)
    return f"scrypt:{salt.hex()}:{hashlib.scrypt(password.encode(), salt=salt, dklen=32, **_COST).hex()}"


def password_fits(password: str, stored: str) -> bool:
    _kind, salt, digest = stored.split(":")
    given = hashlib.scrypt(password.encode("utf-8", "replace"), salt=bytes.fromhex(salt), dklen=32, **_COST)
    return hmac.compare_digest(given.hex(), digest)


# ------------------------------------------------------------------------------------------------------------ invitations

def invite(secret: str, role: str, study: str = "", *, personal: bool = True) -> str:
    """A signed invitation. A personal one is always the same annotator; without it, everybody who follows the link is a new one."""
    if role not in ("visitor", "annotator"):
        raise StudyError(f"invitations are for visitors and annotators, got {role!r}")
    if (role == "annotator") != bool(study):
        raise StudyError("an annotator is invited to a study, a visitor is not")
    return _signer(secret, "invitation").dumps([role, study, secrets.token_urlsafe(9) if personal else ""])


def read_invitation(secret: str, text: object, days: float = 30) -> Invitation | None:
    """What an invitation says, or None when it is not ours or too old."""
    try:
        role, study, personal = _signer(secret, "invitation").loads(text, max_age=int(days * 86400))
    except (BadData, TypeError, ValueError, AttributeError):
        return None
    return Invitation(role, study, personal)


def sign_session(secret: str, payload: dict) -> str:
    return _signer(secret, "session").dumps(payload)


def read_session(secret: str, text: str | None, days: float = 14) -> dict | None:
    try:
        found = _signer(secret, "session").loads(text or "", max_age=int(days * 86400))
    except BadData:
        return None
    return found if isinstance(found, dict) else None


def _signer(secret: str, what: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(secret, salt=f"mre-studio/{what}")
