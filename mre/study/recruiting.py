"""Ids by which a recruiting service knows an annotator, kept to pay them: only where the study says so, and encrypted.

The key is derived from the store's pseudonym key, which lies outside the database (`keys`); the annotator's pseudonym is bound to the
ciphertext, so that rows cannot be swapped. Everybody else finds in the database a digest by which the annotator is known again.
"""

from __future__ import annotations

import base64
import functools
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    from mre.study.store import Store

# The parameters that services add to a study's address: of the participant, of this turn of theirs, of the task there.
SERVICES = {
    "prolific": ("PROLIFIC_PID", "SESSION_ID", "STUDY_ID"),
    "mturk": ("workerId", "assignmentId", "hitId"),
    "cloudresearch": ("participantId", "assignmentId", "projectId"),
    "other": ("participant", "", "")}
MAX_ID_CHARS = 200
_NONCE_BYTES = 12


@dataclass(frozen=True)
class RecruitingIds:
    """What a recruiting service calls a participant, their turn (MTurk's assignment, Prolific's submission) and the task."""

    service: str
    participant: str
    turn: str = ""
    task: str = ""


def given_ids(parameters: Mapping[str, object]) -> RecruitingIds | None:
    """The ids among the parameters of an address; None when it names no participant. What is no plain id is left out."""
    for service, (participant, *others) in SERVICES.items():
        if found := _plain(parameters.get(participant)):
            return RecruitingIds(service, found, *(_plain(parameters.get(name)) or "" for name in others))
    return None


def identity(parameters: Mapping[str, object]) -> str | None:
    """The text of which the store keeps a keyed digest, to know a participant again; None when the parameters name nobody."""
    for participant, *_others in SERVICES.values():
        value = parameters.get(participant)
        if isinstance(value, str) and 0 < len(value) <= MAX_ID_CHARS:
            return f"{participant}/{value}"
    return None


def sealed(store: Store, study: str, label: str, ids: RecruitingIds) -> str:
    """The ids encrypted for one annotator of a study (its public id)."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    text = json.dumps(asdict(ids), sort_keys=True).encode()
    return base64.urlsafe_b64encode(nonce + _cipher(store.pseudonym_key).encrypt(nonce, text, _bound_to(study, label))).decode()


def unsealed(store: Store, study: str, label: str, text: str) -> RecruitingIds | None:
    """The ids again; None when they were encrypted under a key that is lost, or for somebody else."""
    raw = base64.urlsafe_b64decode(text)
    try:
        return RecruitingIds(**json.loads(_cipher(store.pseudonym_key).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:],
                                                                               _bound_to(study, label))))
    except InvalidTag:
        return None


def _plain(value: object) -> str | None:
    return value if isinstance(value, str) and re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9._~@:+-]{{0,{MAX_ID_CHARS - 1}}}", value) else None


def _bound_to(study: str, label: str) -> bytes:
    return f"{study}/{label}".encode()


@functools.lru_cache(maxsize=8)
def _cipher(key: str) -> AESGCM:
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=b"mre-studio/recruiting-ids").derive(key.encode()))
