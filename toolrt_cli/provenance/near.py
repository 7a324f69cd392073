"""
Near misses: what was looked at and did not grant, the nearest first.

Each names the one check that it failed and the smallest change that would make it pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final

from toolrt_cli.output import to_json
from toolrt_cli.provenance.facts import (
    OK,
    Document,
    Facts,
    Rule,
    Source,
    Token,
    covers,
)

#: At most so many of each sort are listed.
_MOST: Final = 5
#: From here on a rule looks like the capability misspelt.
_TYPO: Final = 0.8
_SECONDS: Final = 1_000_000
_DAY_S: Final = 86_400

#: What helps where another token of the same issuer would not.
_CHANGES: Final = {
    "unreadable": "mend the file, or take it away",
    "too_many": "take some away",
    "untrusted_root": "trust its first issuer in [[ucan.root]], or take it away",
    "revocations": "mend the file of revocations: toolrt doctor tells what is wrong",
    "possession": "bring the key of the caller here, or take it away",
}

# How far from granting, the nearest first.
(
    _REMOVED,
    _BAD_TOKEN,
    _LATE_TOKEN,
    _UNMET,
    _HELD_BACK,
    _MISSPELT,
    _UNDECLARED,
    _OTHERS,
    _TOO_LITTLE,
    _FAR,
) = range(10)


def rejected(
    facts: Facts,
    caller: str,
    capability: str,
    *,
    removed: Sequence[Source],
    now_us: int,
) -> list[Document]:
    """Return what does not grant *capability* to *caller*, the nearest first."""
    left = facts.without(removed)
    found = [
        *(_gone(source) for source in removed if _would(source, caller, capability)),
        *_tokens(left, capability, now_us),
        *_own_rules(left, caller, capability),
        *_rules_of_others(left, caller, capability),
    ]
    found.sort(key=lambda item: item["distance"])  # stable: likeness inside one sort
    return [{**item, "nearest": index == 0} for index, item in enumerate(found)]


def _would(source: Source, caller: str, capability: str) -> bool:
    is_own = not isinstance(source, Rule) or source.caller == caller
    return is_own and capability in source.capabilities


def _gone(source: Source) -> Document:
    if isinstance(source, Rule):
        return _rule(
            source, "removed", "it is taken away", "leave it in place", _REMOVED
        )
    return _token(source, "removed", "it is taken away", "leave it in place", _REMOVED)


def _own_rules(facts: Facts, caller: str, capability: str) -> Iterator[Document]:
    rules = facts.callers[caller].rules if caller in facts.callers else ()
    by_likeness = sorted(
        rules, key=lambda rule: -likeness(rule.source.pattern, capability)
    )
    for rule in by_likeness[:_MOST]:
        pattern = rule.source.pattern
        if capability in rule.capabilities:
            yield _rule(
                rule,
                "other_token",
                "a token does not hold",
                "take the token away",
                _HELD_BACK,
            )
            continue
        if covers(pattern, capability):
            yield _rule(
                rule,
                "declared",
                f"covers it, but no loaded pack needs {capability}",
                f"load a pack that needs it, or list {to_json(capability)} itself",
                _UNDECLARED,
            )
            continue
        is_typo = likeness(pattern, capability) >= _TYPO
        change = (
            f"write {to_json(capability)} in its place"
            if is_typo
            else (f"list {to_json(capability)} beside it")
        )
        yield _rule(
            rule,
            "pattern",
            f"does not cover {capability}",
            change,
            _MISSPELT if is_typo else _FAR,
        )


def _rules_of_others(facts: Facts, caller: str, capability: str) -> Iterator[Document]:
    others = [
        rule
        for name, table in facts.callers.items()
        if name != caller
        for rule in table.rules
        if capability in rule.capabilities
    ]
    others.sort(key=lambda rule: -likeness(rule.caller, caller))
    for rule in others[:_MOST]:
        change = f"list it for {caller}, or call as {rule.caller}"
        yield _rule(rule, "caller", f"it is for {rule.caller}", change, _OTHERS)


def _tokens(facts: Facts, capability: str, now_us: int) -> Iterator[Document]:
    for token in facts.tokens:
        if token.unmet and capability in token.links[-1].capabilities:
            yield _token(
                token,
                "binding",
                f"grants it only with {token.unmet}",
                f"call it so, or have {_issuer(token)} issue one that is not bound",
                _UNMET,
            )
        elif token.code == OK and capability not in token.capabilities:
            listed = ", ".join(sorted(token.capabilities)) or "nothing"
            yield _token(
                token,
                "capability",
                f"grants {listed} only",
                f"have {_issuer(token)} issue one that grants {capability}",
                _TOO_LITTLE,
            )
        elif token.code == OK:
            yield _token(
                token,
                "other_token",
                "another token does not hold",
                "take that one away",
                _HELD_BACK,
            )
        else:
            yield _failed(token, capability, now_us)


def _failed(token: Token, capability: str, now_us: int) -> Document:
    """Return the item of a token that does not hold: with it nothing is granted."""
    rank = _BAD_TOKEN
    reason = token.why or token.code
    change = _CHANGES.get(
        token.code, f"take it away, or have {_issuer(token)} issue another"
    )
    if token.code in ("expired", "not_yet"):
        rank = _LATE_TOKEN if capability in token.capabilities else _BAD_TOKEN
        reason = _lateness(token, now_us) or reason
        change = f"have it renewed by {_issuer(token)}, or take it away"
    # Of a token that only the record names, nobody knows what it grants.
    is_known = bool(token.links)
    if token.code == "expired" and is_known and capability not in token.capabilities:
        reason += ", and does not grant it"
    return _token(token, token.code, reason, change, rank)


def _lateness(token: Token, now_us: int) -> str:
    now = now_us // _SECONDS
    expires = min(
        (x.expires for x in token.links if x.expires is not None), default=None
    )
    if token.code == "expired" and expires is not None and expires <= now:
        return f"expired {ago(now - expires)} ago"
    starts = max((x.not_before for x in token.links if x.not_before), default=None)
    if token.code == "not_yet" and starts is not None and starts > now:
        return f"counts only in {ago(starts - now)}"
    return ""


def ago(seconds: int) -> str:
    """Return a length of time in its two largest units, as ``2 d 4 h``."""
    units = (("d", _DAY_S), ("h", 3600), ("min", 60), ("s", 1))
    parts = []
    for name, size in units:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "0 s"


def _issuer(token: Token) -> str:
    return token.issuer or "its issuer"


def _rule(rule: Rule, check: str, reason: str, change: str, rank: int) -> Document:
    source = rule.source
    return {
        "kind": "allow_list",
        "source": {"file": source.file, "line": source.line, "column": source.column},
        "pattern": source.pattern,
        "issuer": None,
        "audience": rule.caller,
        "digest": None,
        "failed_check": check,
        "reason": reason,
        "change": change,
        "distance": rank,
    }


def _token(token: Token, check: str, reason: str, change: str, rank: int) -> Document:
    last = token.links[-1] if token.links else None
    return {
        "kind": "delegation",
        "source": {"file": token.file, "line": None, "column": None},
        "pattern": None,
        "issuer": token.issuer or None,
        "audience": last and last.audience,
        "digest": token.digest or None,
        "failed_check": check,
        "reason": reason,
        "change": change,
        "distance": rank,
    }


def likeness(one: str, other: str) -> float:
    """Return how alike two names are, from 0 to 1; case does not count."""
    return SequenceMatcher(None, one.casefold(), other.casefold()).ratio()
