"""
The delegation tokens of one call: read for it, judged at it, and why they were refused.

Nothing here is loaded that a call without tokens does not need.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from toolrt import (
    Authority,
    CallResult,
    CapabilitySet,
    DelegationRefusedError,
    Tool,
    ToolCall,
)
from toolrt.capability import Link, Refusal
from toolrt.schema import with_defaults
from toolrt_cli.config import LoadedConfig
from toolrt_cli.problems import Advice
from toolrt_cli.wiring import Session, allow_lists

if TYPE_CHECKING:
    from toolrt_cli.token_files import ProofFileError
    from toolrt_store import SqliteEventStore


class Proofs(msgspec.Struct, frozen=True):
    """
    The tokens that a call brings.

    With a ``fault`` a file of one was not to be used: none of them counts, and the call
    is refused and recorded as with any other token that does not hold.
    """

    tokens: tuple[str, ...] = ()
    fault: ProofFileError | None = None


def proofs_of(config: LoadedConfig, caller: str, named: Sequence[str]) -> Proofs:
    """Return the tokens that a call of *caller* brings: its ``proofs``, then *named*."""
    table = config.config.callers.get(caller)
    if not named and not (table and table.proofs):
        return Proofs()
    from toolrt_cli.token_files import ProofFileError, proof_files, read_proof

    try:
        return Proofs(tuple(map(read_proof, proof_files(config, caller, named))))
    except ProofFileError as exc:
        return Proofs(fault=exc)


class RefusingAuthority(Authority):
    """Refuses every call, as a file with a token of the call was not to be used."""

    def resolve(self, *_asked: object) -> CapabilitySet:
        """Return the refusal, whatever is asked for."""
        return CapabilitySet(refusal=Refusal("unreadable"))


def authority_for(
    session: Session, store: SqliteEventStore, call: ToolCall, proofs: Proofs
) -> Authority | None:
    """
    Return who judges the *proofs* of *call*; None where it brings none.

    Raises:
        ConfigError: The DID of the caller is none of an Ed25519 key.
    """
    if proofs.fault is not None:
        return RefusingAuthority(allow_lists(session))
    if not proofs.tokens:
        return None
    from toolrt_cli.delegations import delegating_authority

    return delegating_authority(session, store, call.caller or "")


def told(result: CallResult, proofs: Proofs) -> CallResult:
    """Return *result* with the fault of a file in place of the refusal that came of it."""
    if proofs.fault is None or not isinstance(result.error, DelegationRefusedError):
        return result
    proofs.fault.call_id = result.call_id
    return msgspec.structs.replace(result, error=proofs.fault)


def refusal_advice(
    session: Session,
    error: DelegationRefusedError,
    call: ToolCall,
    named: Sequence[str],
) -> Advice:
    """Say what the code means, which file is at fault, and how to learn more."""
    from shlex import quote

    from toolrt.ucan import CODES, token_digest
    from toolrt_cli.delegations import possession_advice
    from toolrt_cli.revocations import RevocationsError, revocations_of
    from toolrt_cli.token_files import proof_files

    caller = call.caller or ""
    details, steps = [CODES.get(error.reason, error.reason)], []
    if error.reason == "possession":
        why, step = possession_advice(session.config, caller, session.environ)
        details.append(why)
        steps.append(step)
    if error.reason == "revocations":
        try:
            revocations_of(session.config, session.environ).count()
        except RevocationsError as exc:
            details.append(str(exc))
            steps.append(exc.next_step)
    files = proof_files(session.config, caller, named)
    for file, token in zip(files, call.proofs, strict=False):
        if error.token is not None and token_digest(token) == error.token:
            details.append(f"the token in {file}, digest {error.token}")
            steps.append(f"toolrt delegation verify {quote(file)} --as {quote(caller)}")
            if error.reason == "expired" and _counts_by_the_clock(token):
                details.append("not by this clock, but the record has a later time")
            break
    return Advice(details=tuple(details), next=tuple(steps))


def _counts_by_the_clock(token: str) -> bool:
    """Return whether no link of *token* has ended yet, for all that the clock says."""
    from time import time

    from toolrt.ucan import read_chain

    return all(one.link.expires > time() for one in read_chain(token))


def unmet_links(
    config: LoadedConfig, tool: Tool, params: Mapping[str, Any], tokens: Sequence[str]
) -> Iterator[tuple[int, Link]]:
    """
    Yield the last link of each of *tokens* that the arguments do not meet, and its place.

    Held against what the gate and the tool see, defaults filled in; nothing is verified.
    """
    from toolrt.ucan import UcanError, fits, read_chain
    from toolrt_cli.delegations import limits_of

    limits = limits_of(config)
    seen = with_defaults(tool.defaults, params)
    for index, token in enumerate(tokens):
        try:
            leaf = read_chain(token, limits=limits)[-1].link
        except UcanError:  # which refuses the call
            continue
        if not fits(leaf.bindings, seen):
            yield index, leaf


def unmet_bindings(
    config: LoadedConfig, tool: Tool, call: ToolCall, named: Sequence[str]
) -> list[str]:
    """Return which tokens of *call* hold and grant nothing, as its arguments differ."""
    if not call.proofs:
        return []
    from toolrt_cli.token_files import proof_files

    files = proof_files(config, call.caller or "", named)
    return [
        f"the token in {files[index]} grants {', '.join(leaf.capabilities)}"
        f" only with {binding_text(leaf.bindings)}"
        for index, leaf in unmet_links(config, tool, call.params or {}, call.proofs)
    ]


def binding_text(bindings: Sequence[tuple[str, str]]) -> str:
    """Return the arguments of *bindings* in words."""
    return ", ".join(f"{name} = {text}" for name, text in bindings)
