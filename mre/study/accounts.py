"""Who may do what: accounts in a file, with passwords only as argon2id hashes, and signed invitation links.

Roles: a `visitor` edits photos; an `annotator` scores studies; a `researcher` may do everything.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import json
import logging
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from filelock import FileLock, Timeout
from itsdangerous import BadData, URLSafeTimedSerializer

from mre.errors import SettingsError, StudyError
from mre.private import tighten, write_private

ROLES = ("visitor", "annotator", "researcher")
MIN_PASSWORD = 8
MAX_PASSWORD = 200
LOCK_SECONDS = 10
DEVICE_DAYS, MOST_DEVICE_ACCOUNTS = 365, 5
STORED = r"scrypt:[0-9a-f]{32}:[0-9a-f]{64}|\$argon2id\$v=19\$[A-Za-z0-9+/=,$]{20,200}"
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)     # OWASP's first choice: 19 MiB and some 50 ms for each guess
_SCRYPT = "scrypt:"                                                             # hashes of former versions
_NOBODY_BEFORE = _SCRYPT + "00" * 16 + ":" + "00" * 32
log = logging.getLogger("mre.study")


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
        self._stamp: tuple[int, int, int] | None = None
        self._known: dict[str, dict[str, str]] = {}
        self._read()
        if tighten(path):
            log.warning("%s: other users of this machine could read this file; now only its owner can", path)

    def check(self, name: str, password: str) -> str | None:
        """The role of this account when the password is right, else None. An unknown name takes as long as a wrong password.

        A password that is right and stored in a way of former versions is stored anew."""
        known = self._read()
        account = known.get(name)
        right = password_fits(password, account["password"] if account else _nobody())
        if any(one["password"].startswith(_SCRYPT) for one in known.values()) and not (account and account["password"].startswith(_SCRYPT)):
            password_fits(password, _NOBODY_BEFORE)             # so that the time tells nothing of who has an old hash
        if not account or not right:
            return None
        if is_outdated(account["password"]):
            self._store_anew(name, account, password)
        return account["role"]

    def role(self, name: str, mark: str) -> str | None:
        """The role of an account in a session that began with `mark`; None once the account is gone or its password has changed."""
        account = self._read().get(name)
        return account["role"] if account and hmac.compare_digest(mark, self.mark(name)) else None

    def mark(self, name: str) -> str:
        """What ties a session to the account's present password without telling anything about it."""
        account = self._read().get(name)
        return _mark(account) if account else ""

    def _store_anew(self, name: str, account: dict[str, str], password: str) -> None:
        """Replace the hash of an unchanged password; sessions go on."""
        anew = {"role": account["role"], "password": hashed(password), "mark": _mark(account)}
        try:
            _change(self.path, lambda accounts: accounts.update({name: anew}) if accounts.get(name) == account else None)
        except SettingsError as error:                          # such as a file that is only mounted here
            log.warning("the password of %s stays in its old form: %s", name, error)

    def _read(self) -> dict[str, dict[str, str]]:
        try:
            found = self.path.stat()
            if self._stamp != (stamp := (found.st_mtime_ns, found.st_size, found.st_ino)):
                self._known = read_accounts(self.path)
                self._stamp = stamp
        except OSError as error:
            raise SettingsError(f"auth: {self.path}: cannot be read ({error.strerror}); `study account` makes one") from error
        return self._known


def read_accounts(path: Path) -> dict[str, dict[str, str]]:
    """Accounts by name. Raises SettingsError naming the account with a fault."""
    try:
        accounts = dict(json.loads(path.read_text(encoding="utf-8"))["accounts"])
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"auth: {path}: not an accounts file as `study account` writes it") from error
    for name, account in accounts.items():
        if not isinstance(account, dict) or account.get("role") not in ROLES or not re.fullmatch(STORED, str(account.get("password"))):
            raise SettingsError(f"auth: {path}: account {name!r} needs a role ({', '.join(ROLES)}) and an argon2id or scrypt password")
    return accounts


def write_account(path: Path, name: str, role: str, password: str) -> None:
    """Add an account, or change its role and password, which ends its sessions. The file is readable by its owner alone."""
    if role not in ROLES:
        raise SettingsError(f"role must be one of {', '.join(ROLES)}, got {role!r}")
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise SettingsError("an account's name must have 1 to 100 printable characters")
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise SettingsError(f"a password must have {MIN_PASSWORD} to {MAX_PASSWORD} characters")
    account = {"role": role, "password": hashed(password), "mark": secrets.token_hex(8)}
    _change(path, lambda accounts: accounts.update({name: account}))


def _change(path: Path, change: Callable[[dict[str, dict[str, str]]], None]) -> None:
    """Change the accounts of a file, one process after the other, whole or not at all."""
    try:
        with FileLock(path.with_name(f".{path.name}.lock"), timeout=LOCK_SECONDS, mode=0o600):
            accounts = read_accounts(path) if path.exists() else {}
            change(accounts)
            write_private(path, json.dumps({"accounts": accounts}, ensure_ascii=False, indent=1, sort_keys=True) + "\n")
    except Timeout as error:
        raise SettingsError(f"{path}: another process is changing it") from error
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written ({error.strerror})") from error


def _mark(account: dict[str, str]) -> str:
    """An account of a former version has no mark of its own; then it is what it was there."""
    return account.get("mark") or hashlib.sha256(("session:" + account["password"]).encode()).hexdigest()[:16]


# -------------------------------------------------------------------------------------------------------------- passwords

def hashed(password: str) -> str:
    return _HASHER.hash(password.encode("utf-8", "replace"))


def password_fits(password: str, stored: str) -> bool:
    """Whether this is the password behind an argon2id hash, or behind a scrypt hash of former versions."""
    if stored.startswith(_SCRYPT):
        _kind, salt, digest = stored.split(":")
        given = hashlib.scrypt(password.encode("utf-8", "replace"), salt=bytes.fromhex(salt), dklen=32, n=2**14, r=8, p=1)
        return hmac.compare_digest(given.hex(), digest)
    try:
        return _HASHER.verify(stored, password.encode("utf-8", "replace"))
    except (VerificationError, InvalidHashError):
        return False


def is_outdated(stored: str) -> bool:
    """Whether a hash was made in a way, or at a cost, that is no longer ours."""
    return stored.startswith(_SCRYPT) or _HASHER.check_needs_rehash(stored)


@functools.cache
def _nobody() -> str:
    """A hash that no password fits, at the cost of a real one."""
    return hashed(secrets.token_urlsafe(32))


# ------------------------------------------------------------------------------------------------------------ invitations

def invite(secret: str, role: str, study: str = "", *, personal: bool = True) -> str:
    """A signed invitation. A personal one is always the same annotator; without it, everybody who follows the link is a new one."""
    if role not in ("visitor", "annotator"):
        raise StudyError(f"invitations are for visitors and annotators, got {role!r}")
    if (role == "annotator") != bool(study):
        raise StudyError("an annotator is invited to a study, a visitor is not")
    return _signer(secret, "invitation").dumps([role, study, secrets.token_urlsafe(9) if personal else ""])


def read_invitation(secret: str, text: Any, days: float = 30) -> Invitation | None:
    """What an invitation says, or None when it is not ours or too old."""
    try:
        role, study, personal = _signer(secret, "invitation").loads(text, max_age=int(days * 86400))
    except (BadData, TypeError, ValueError, AttributeError):
        return None
    return Invitation(role, study, personal)


# ---------------------------------------------------------------------------------------------------------------- devices

def remember_device(secret: str, text: str | None, name: str) -> str:
    """What a browser keeps after a login: that `name` has signed in on it, and those of before in `text`. No name can be read from it."""
    number, known = _device(secret, text) or (secrets.token_urlsafe(9), [])
    own = _account_digest(secret, name)
    return _signer(secret, "device").dumps([number, [own, *(digest for digest in known if digest != own)][:MOST_DEVICE_ACCOUNTS]])


def known_device(secret: str, text: str | None, name: str) -> str | None:
    """The device's number when `name` has signed in on it before, else None."""
    number, known = _device(secret, text) or ("", [])
    return number if _account_digest(secret, name) in known else None


def _device(secret: str, text: str | None) -> tuple[str, list[str]] | None:
    try:
        number, known = _signer(secret, "device").loads(text or "", max_age=DEVICE_DAYS * 86400)
    except (BadData, TypeError, ValueError):
        return None
    return number, known


def _account_digest(secret: str, name: str) -> str:
    return hmac.new(secret.encode(), f"device/{name}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:16]


def _signer(secret: str, what: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(secret, salt=f"mre-studio/{what}")
