"""Which callers and capabilities somebody knows, and what the record says of their use."""

from __future__ import annotations

from collections.abc import Sequence

from toolrt_cli import identities
from toolrt_cli.listing import now_us
from toolrt_cli.problems import NotFoundError, near_names
from toolrt_cli.provenance.answer import Use, Used
from toolrt_cli.provenance.facts import Facts, known_capabilities
from toolrt_cli.wiring import Session
from toolrt_store import SqliteEventStore


def latest_us(store: SqliteEventStore | None) -> int:
    """
    Return now in Unix microseconds, or the latest time on record if that is later.

    As at a call: a clock that was set back revives no token that has expired.
    """
    recorded_us = None if store is None else store.latest_us()
    return max(now_us(), recorded_us or 0)


def require_known(
    session: Session,
    store: SqliteEventStore | None,
    caller: str,
    capability: str,
    facts: Sequence[Facts],
) -> None:
    """
    Check that config, identities, record or this session know the caller and the capability.

    A typo must not be answered with no.

    Raises:
        NotFoundError: Nobody knows one of them.
    """
    require_caller(session, store, caller, facts)
    require_capability(store, capability, facts)


def require_caller(
    session: Session,
    store: SqliteEventStore | None,
    caller: str,
    facts: Sequence[Facts],
) -> None:
    """Check the caller alone. Raises like `require_known`."""
    named = dict.fromkeys(name for one in facts for name in one.callers)
    if caller in named or caller == session.default_caller:
        return
    if store is not None and store.knows_caller(caller):
        return
    own = identities.names(session.environ)
    if caller in own or identities.find_did(caller, session.environ) is not None:
        return
    recorded = [] if store is None else [name for name, _ in store.values("caller")]
    known = tuple(dict.fromkeys([*named, session.default_caller, *own, *recorded]))
    raise NotFoundError("caller", caller, near_names(caller, known))


def require_capability(
    store: SqliteEventStore | None, capability: str, facts: Sequence[Facts]
) -> None:
    """Check the capability alone. Raises like `require_known`."""
    named = dict.fromkeys(name for one in facts for name in known_capabilities(one))
    if capability in named:
        return
    if store is not None and store.knows_capability(capability):
        return
    near = near_names(capability, tuple(named))
    raise NotFoundError("capability", capability, near)


def used_of(store: SqliteEventStore | None, caller: str, capability: str) -> Used:
    """Return what the record says of the use of *capability* by *caller*."""
    if store is None:
        return Used()
    found = store.usage(caller, capability)
    return Used(
        found.calls,
        found.first_us,
        found.last_us,
        tuple(
            Use(one.source, one.calls, one.first_us, one.last_us)
            for one in found.sources
        ),
    )
