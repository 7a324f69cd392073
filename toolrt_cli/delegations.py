"""
What the config says of delegation, as values for who verifies: `[ucan]` and the callers.

Imported where a token or a key is used: a call without tokens needs none of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from toolrt import Authority
from toolrt.errors import UcanError
from toolrt.ucan import Identity, Limits
from toolrt_cli import identities
from toolrt_cli.config import ConfigError, Fault, LoadedConfig
from toolrt_cli.config.dids import did_problems, not_a_key
from toolrt_cli.revocations import revocations_of
from toolrt_cli.wiring import Session, allow_lists
from toolrt_store import SqliteEventStore

_DID: Final = "did:key:"


def delegating_authority(
    session: Session, store: SqliteEventStore, caller: str
) -> Authority:
    """
    Return the authority of the allow-lists and of the tokens that *caller* brings.

    No call counts as before the latest event in *store*.

    Raises:
        ConfigError: The DID of a caller is none of an Ed25519 key.
    """
    config = session.config
    identity = identity_of(config, caller, session.environ)
    return Authority(
        allow_lists(session),
        roots=roots_of(config),
        revocations=revocations_of(config, session.environ),
        identities={} if identity is None else {caller: identity},
        limits=limits_of(config),
        bearer=config.config.ucan.bearer,
        high_water=(store.latest_us() or 0) // 1_000_000,
    )


def roots_of(config: LoadedConfig) -> dict[str, frozenset[str] | None]:
    """Return the trusted issuers with their ceilings; None is any capability."""
    return {
        one.did: None if one.capabilities is None else frozenset(one.capabilities)
        for one in config.config.ucan.root
    }


def limits_of(config: LoadedConfig) -> Limits:
    """Return what a chain may be at most."""
    table = config.config.ucan
    return Limits(
        max_depth=table.max_depth,
        max_ttl_s=max(1, int(table.max_ttl)),
        leeway_s=int(table.leeway),
    )


def did_of(
    config: LoadedConfig, caller: str, environ: Mapping[str, str] | None = None
) -> str | None:
    """
    Return by which DID tokens name *caller*; None if by none.

    That is its ``did`` in the config, else that of the identity of its name, else what
    it is called itself.
    """
    table = config.config.callers.get(caller)
    if table is not None and table.did is not None:
        return table.did
    if caller.startswith(_DID):
        return caller
    found = identities.find(caller, environ)
    return None if found is None else found.did


def identity_of(
    config: LoadedConfig, caller: str, environ: Mapping[str, str] | None = None
) -> Identity | None:
    """
    Return who *caller* is to those who delegate, with its key where that is at hand.

    Raises:
        ConfigError: Its ``did`` is none of an Ed25519 key.
    """
    did = did_of(config, caller, environ)
    if did is None:
        return None
    key_file = identities.find_did(did, environ)
    try:
        if key_file is None:
            return Identity(did)
        found = Identity.from_seed(identities.seed_of(key_file))
        # The file may hold the key of somebody else by now.
        return found if found.did == did else Identity(did)
    except UcanError as exc:
        table = config.config.callers.get(caller)
        if table is None or table.did != did:
            return None
        fault = config.fault(not_a_key(exc), "callers", caller, "did")
        raise ConfigError([fault]) from exc
    except identities.IdentityError:  # it went, or was opened to others, just now
        return Identity(did)


def did_faults(config: LoadedConfig) -> Iterator[Fault]:
    """Yield every DID of *config* that is none of an Ed25519 key."""
    whole = config.config
    written = {
        "ucan": {"root": [{"did": one.did} for one in whole.ucan.root]},
        "callers": {name: {"did": one.did} for name, one in whole.callers.items()},
    }
    for problem in did_problems(written):
        yield config.fault(problem.message, *problem.path)


def possession_advice(
    config: LoadedConfig, caller: str, environ: Mapping[str, str] | None = None
) -> tuple[str, str]:
    """Return why *caller* cannot show its key, and what to do."""
    key_file = identities.find(caller, environ)
    if key_file is not None and key_file.problem is not None:
        fix = key_file.fix or f"mend or replace {key_file.path}"
        return f"{key_file.path}: {key_file.problem}", fix
    did = did_of(config, caller, environ)
    if did is not None:
        held = f"no identity of yours has the key of {did}"
        return held, "toolrt identity list tells which keys are at hand"
    nobody = f"{caller} has no identity, and no did in the config"
    if identities.is_name(caller):
        return nobody, f"toolrt identity new {caller}, and have tokens issued to it"
    return nobody, "name a caller that has one: --as CALLER"
