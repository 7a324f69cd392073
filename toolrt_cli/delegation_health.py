"""What ``toolrt doctor`` finds of keys, tokens and revocations."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from toolrt_cli import identities
from toolrt_cli.config import LoadedConfig
from toolrt_cli.revocations import RevocationsError, revocations_of
from toolrt_store.doctor import Finding


def findings(
    config: LoadedConfig, environ: Mapping[str, str], now_us: int
) -> Iterator[Finding]:
    """
    Yield one finding for each part of delegation that there is.

    Args:
        now_us: When tokens have to hold, in Unix microseconds.
    """
    yield from _identities(environ)
    whole = config.config
    if whole.ucan.root or whole.ucan.revocations is not None:
        yield _revocations(config, environ)
    for name, caller in whole.callers.items():
        if caller.proofs:
            yield from _tokens(config, name, now_us)


def _identities(environ: Mapping[str, str]) -> Iterator[Finding]:
    found = [identities.find(name, environ) for name in identities.names(environ)]
    sound = [one.name for one in found if one is not None and one.problem is None]
    for one in found:
        if one is not None and one.problem is not None:
            text = f"{one.path}: {one.problem}"
            fix = one.fix or "put the key back, or make another: toolrt identity new"
            yield Finding(check="identities", status="fail", text=text, fix=fix)
    if sound:
        yield Finding(check="identities", status="ok", text=", ".join(sound))


def _revocations(config: LoadedConfig, environ: Mapping[str, str]) -> Finding:
    revoked = revocations_of(config, environ)
    try:
        count = revoked.count()
    except RevocationsError as exc:
        fix = exc.next_step
        return Finding(check="revocations", status="fail", text=str(exc), fix=fix)
    text = f"{revoked.path}: {count} revoked"
    return Finding(check="revocations", status="ok", text=text)


def _tokens(config: LoadedConfig, caller: str, now_us: int) -> Iterator[Finding]:
    from toolrt_cli.provenance.facts import OK
    from toolrt_cli.provenance.tokens import tokens_of

    tokens = tokens_of(config, caller, (), now_us=now_us)
    for token in tokens:
        if token.code != OK:
            file = token.file or ""
            text = f"{caller}: {file}: {token.why}, and every call is refused"
            fix = f"toolrt delegation verify {shlex.quote(file)} --as {shlex.quote(caller)}"
            yield Finding(check="tokens", status="fail", text=text, fix=fix)
    held = sum(token.code == OK for token in tokens)
    if held == len(tokens):
        text = f"{caller}: {held} hold; toolrt provenance expiring tells until when"
        yield Finding(check="tokens", status="ok", text=text)
