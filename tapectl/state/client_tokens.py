"""Results of requests that came with a client token, so that a repeat changes nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientToken:
    """A request answered before: `request` as it was asked, `result` the barcodes it gave."""

    token: str
    operation: str
    request: Mapping[str, object]
    result: Sequence[str]
    created_at_ms: int


def find(db: sqlite3.Connection, token: str) -> ClientToken | None:
    """Return what was answered under this token, None if nothing was."""
    row = db.execute("SELECT * FROM client_token WHERE token = ?", (token,)).fetchone()
    if row is None:
        return None
    request, result = json.loads(row["request"]), json.loads(row["result"])
    return ClientToken(**{**dict(row), "request": request, "result": result})


def insert(db: sqlite3.Connection, token: ClientToken) -> None:
    """Remember an answer; raises sqlite3.IntegrityError if the token was used."""
    db.execute(
        "INSERT INTO client_token (token, operation, request, result, created_at_ms)"
        " VALUES (?, ?, ?, ?, ?)",
        (
            token.token,
            token.operation,
            json.dumps(dict(token.request), sort_keys=True),
            json.dumps(list(token.result)),
            token.created_at_ms,
        ),
    )
