"""The secrets of a study database, kept outside it: whoever gets hold of the database alone can forge no invitation.

There are two. `signing` is behind invitation links and remembered devices, and can be replaced (`rotate`). `pseudonyms` is behind the
digests by which the database finds somebody again without knowing them; it stays, else everybody who comes back would be somebody new.
Both lie in a file of the data folder that only its owner may read; where the environment gives a key (`MRE_SECRET_KEY`), they lie in the
database, encrypted with it.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import Connection

from mre.errors import SettingsError
from mre.private import write_private
from mre.study.schema import store_settings

if TYPE_CHECKING:
    from mre.study.store import Store

ENVIRONMENT, ENVIRONMENT_BEFORE = "MRE_SECRET_KEY", "MRE_SECRET_KEY_BEFORE"
SHORTEST_KEY = 16           # characters of a key of the environment
FILES = "study-keys-*.json"
_COST = {"n": 2**15, "r": 8, "p": 1, "maxmem": 2**26}


@dataclass(frozen=True)
class Keys:
    """Both secrets, as hexadecimal text."""

    signing: str
    pseudonyms: str

    @classmethod
    def new(cls) -> Keys:
        return cls(secrets.token_hex(32), secrets.token_hex(32))

    @property
    def check(self) -> str:
        """What the database keeps to know these keys from others. It tells nothing about them."""
        return hmac.new(self.pseudonyms.encode(), f"check:{self.signing}".encode(), hashlib.sha256).hexdigest()

    @classmethod
    def of(cls, found: object) -> Keys:
        """Keys as they were read. Raises ValueError for anything else."""
        names = [field.name for field in fields(cls)]
        if not isinstance(found, dict) or not all(isinstance(found.get(name), str) and len(found[name]) >= 32 for name in names):
            raise ValueError("not a pair of keys")
        return cls(*(found[name] for name in names))


def load(store: Store) -> Keys:
    """The keys of this database, made when they are first asked for.

    Raises SettingsError when they are somewhere else: in a file that was not brought along, or under another key of the environment.
    """
    with store.read() as connection:
        keys, at_home = _found(store, connection)
    return keys if keys and at_home else _keep(store, lambda found: found or Keys.new())


def move_out(store: Store) -> None:
    """Take the secret out of a database of a former version, where whoever reads the file has it. What it has signed stays valid."""
    with store.read() as connection:
        if not _setting(connection, "secret"):
            return
    if store.data or os.environ.get(ENVIRONMENT):           # else there is no place for it, as `load` will say
        _keep(store, lambda found: found or Keys.new())
        _wipe(store)


def rotate(store: Store, *, lost: bool = False) -> None:
    """A new signing key from now on: invitations and remembered devices of before are worth nothing any more. `lost`: both keys are new,
    because the old ones cannot be had any more; who comes back is then somebody new. Raises SettingsError for keys that are elsewhere."""
    _keep(store, lambda found: Keys.new() if lost else Keys(Keys.new().signing, (found or Keys.new()).pseudonyms), lost=lost)


def _keep(store: Store, choose: Callable[[Keys | None], Keys], *, lost: bool = False) -> Keys:
    """Keep the keys that are chosen in view of the present ones. Whenever this is cut off, either those or the present ones can be had."""
    with store.write() as connection:
        if not store.is_sqlite:
            connection.execute(sa.text("select pg_advisory_xact_lock(24111304713)"))
        if secret := _setting(connection, "secret"):        # a database of a former version
            before, at_home = Keys(secret, secret), False
        else:
            before, at_home = (None, False) if lost else _found(store, connection)
        keys = choose(before)
        if at_home and keys == before:
            return keys                                     # another process was quicker
        name = _setting(connection, "store_id") or secrets.token_hex(4)
        path = _file(store, name)
        if given := os.environ.get(ENVIRONMENT):
            _set(connection, "sealed_keys", _fernet(given, name).encrypt(json.dumps(asdict(keys)).encode()).decode())
        elif path is None:
            raise SettingsError(f"this database's secrets need a data folder, or a key in the environment ({ENVIRONMENT})")
        else:
            _write(path, keys, before)
            _drop(connection, "sealed_keys")
        _set(connection, "store_id", name)
        _set(connection, "keys_check", keys.check)
        if store.is_sqlite:
            connection.execute(sa.text("pragma secure_delete = on"))
        _drop(connection, "secret")
    if path and not given:
        _write(path, keys)
    elif path:
        path.unlink(missing_ok=True)
    return keys


# ------------------------------------------------------------------------------------------------------- where they are kept

def _found(store: Store, connection: Connection) -> tuple[Keys | None, bool]:
    """The keys, None while there are none, and whether they are where they belong. Raises SettingsError."""
    settings = dict(connection.execute(sa.select(store_settings.c.name, store_settings.c.value)).tuples().all())
    name, check = settings.get("store_id"), settings.get("keys_check")
    if sealed := settings.get("sealed_keys"):
        return _unsealed(sealed, name or "")
    path = _file(store, name)
    if check is None:
        return None, False
    if path is None or not path.exists():
        raise SettingsError(f"the file {path.name if path else FILES} with this database's secrets is not in "
                            f"{store.data or 'a data folder'}; bring it along from where the database was, or make new ones with "
                            "`study rotate-secret --lost`")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        known = [Keys.of(found), *([Keys.of(found["before"])] if found.get("before") else [])]
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, AttributeError) as error:
        raise SettingsError(f"{path}: not a file of keys as this program writes it") from error
    keys = next((keys for keys in known if hmac.compare_digest(keys.check, check)), None)
    if keys is None:
        raise SettingsError(f"{path}: not the present secrets of this database; bring the file along from where they were changed")
    return keys, not os.environ.get(ENVIRONMENT)


def _unsealed(sealed: str, salt: str) -> tuple[Keys, bool]:
    """Keys from the database, and whether they are encrypted with the environment's present key and not its former one."""
    if not os.environ.get(ENVIRONMENT):
        raise SettingsError(f"{ENVIRONMENT} is not set; this database's secrets are encrypted with it")
    for name in (ENVIRONMENT, ENVIRONMENT_BEFORE):
        with suppress(InvalidToken):
            if given := os.environ.get(name):
                return Keys.of(json.loads(_fernet(given, salt).decrypt(sealed.encode()))), name == ENVIRONMENT
    raise SettingsError(f"{ENVIRONMENT} is not the key that this database's secrets are encrypted with")


@functools.lru_cache(maxsize=8)
def _fernet(key: str, salt: str) -> Fernet:
    if len(key) < SHORTEST_KEY:
        raise SettingsError(f"{ENVIRONMENT} must have at least {SHORTEST_KEY} characters")
    return Fernet(base64.urlsafe_b64encode(hashlib.scrypt(key.encode(), salt=f"mre-studio/{salt}".encode(), dklen=32, **_COST)))


def _file(store: Store, name: str | None) -> Path | None:
    return store.data / FILES.replace("*", name) if store.data and name else None


def _write(path: Path, keys: Keys, before: Keys | None = None) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, json.dumps(asdict(keys) | ({"before": asdict(before)} if before else {}), indent=1) + "\n")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written ({error.strerror})") from error


def _wipe(store: Store) -> None:
    """Leave no trace of deleted rows in the database's files; a backup taken before still has them."""
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("pragma wal_checkpoint(truncate)" if store.is_sqlite else "vacuum full store_settings")


def _setting(connection: Connection, name: str) -> str | None:
    return connection.execute(sa.select(store_settings.c.value).where(store_settings.c.name == name)).scalar()


def _set(connection: Connection, name: str, value: str) -> None:
    _drop(connection, name)
    connection.execute(store_settings.insert().values(name=name, value=value))


def _drop(connection: Connection, name: str) -> None:
    connection.execute(store_settings.delete().where(store_settings.c.name == name))
