"""
DIDs in a config that are well written and yet name no key that tokens can count by.

Kept from the checks that every command makes: only who asks whether a config is right,
or brings a token, has use for what decodes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from toolrt.ucan import UcanError, decode_did
from toolrt_cli.config.faults import Path
from toolrt_cli.config.problems import Problem

#: Where it begins otherwise, its form is at fault: see `toolrt_cli.config.structure`.
_PREFIX: Final = "did:key:z"


def did_problems(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield each DID of a trusted root or a caller that is none of an Ed25519 key."""
    for path, did in _dids(data):
        if isinstance(did, str) and did.startswith(_PREFIX):
            try:
                decode_did(did)
            except UcanError as exc:
                yield Problem(path=path, message=not_a_key(exc))


def not_a_key(error: UcanError) -> str:
    """Return what is said of a DID that *error* refused."""
    why = error.detail or "it is no did:key of an Ed25519 key"
    return f"must be the did:key of an Ed25519 key: {why}"


def _dids(data: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    ucan, callers = data.get("ucan"), data.get("callers")
    roots = ucan.get("root") if isinstance(ucan, dict) else None
    for index, root in enumerate(roots if isinstance(roots, list) else ()):
        if isinstance(root, dict):
            yield ("ucan", "root", index, "did"), root.get("did")
    for name, table in (callers if isinstance(callers, dict) else {}).items():
        if isinstance(table, dict):
            yield ("callers", name, "did"), table.get("did")
