"""
The policy point asked before every call.

A gate is a pure function from a `GateRequest` to `Allow` or `Deny`. `RuleGate` is the
one that reads rules: in order, first match wins, else the stated default. `AuditEvent`
is the record of one decision; it never carries arguments.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import translate
from functools import lru_cache
from typing import Any, Final, Literal, Protocol

import msgspec

from toolrt.clock import now_rfc3339
from toolrt.namespace import ActorRef, Namespace

Decision = Literal["allow", "deny", "gate_unavailable"]


class AuditObligation(
    msgspec.Struct,
    frozen=True,
    tag_field="kind",
    tag="audit",
    forbid_unknown_fields=True,
):
    """Recorded with the decision."""

    tag: str


class RateLimitObligation(
    msgspec.Struct,
    frozen=True,
    tag_field="kind",
    tag="rate_limit",
    forbid_unknown_fields=True,
):
    """At most `max` admitted calls of this caller and verb in `window_secs`."""

    window_secs: int
    max: int

    def __post_init__(self) -> None:
        if self.window_secs < 1 or self.max < 1:
            msg = "rate_limit needs window_secs and max of at least 1"
            raise ValueError(msg)


class CustomObligation(
    msgspec.Struct,
    frozen=True,
    tag_field="kind",
    tag="custom",
    forbid_unknown_fields=True,
):
    """Any JSON value, recorded with the decision."""

    value: Any


Obligation = AuditObligation | RateLimitObligation | CustomObligation


class Allow(msgspec.Struct, frozen=True, tag_field="decision", tag="allow"):
    """The call may go on, under *obligations*."""

    obligations: tuple[Obligation, ...] = ()


class Deny(
    msgspec.Struct, frozen=True, tag_field="decision", tag="deny", omit_defaults=True
):
    """
    The call is refused; *reason* is shown to the caller and recorded.

    ``place`` is where the deciding rule stands, as ``file:line``, if it stands in a file.
    """

    reason: str
    place: str | None = None


class GateContext(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a gate may also know of a call."""

    call_id: str | None = None
    caller: str | None = None
    tool_id: str | None = None
    pack: str | None = None
    effect: str | None = None
    requested: tuple[str, ...] | None = None
    source: str | None = None
    session_id: str | None = None
    #: RFC 3339; taken over by the AuditEvent.
    timestamp: str | None = None


class GateRequest(msgspec.Struct, frozen=True):
    """
    One question to a gate.

    ``verb`` is the canonical bare verb; ``args`` are the submitted parameters with the
    schema's defaults filled in.
    """

    actor: ActorRef
    namespace: Namespace
    verb: str
    args: Any
    context: GateContext = GateContext()


class Gate(Protocol):
    """
    Decides on calls.

    ``impl_name``, a str attribute, is recorded with each decision; the class name
    stands in for a gate without one.
    """

    def check(self, request: GateRequest) -> Allow | Deny:
        """Return the decision. To raise is to refuse, unless configured otherwise."""


class AllowAllGate:
    """Allows every call."""

    __slots__ = ()
    impl_name = "AllowAllGate"

    def check(self, request: GateRequest) -> Allow | Deny:
        """Return `Allow`."""
        return _ALLOW

    def settled(self, request: GateRequest) -> Allow | Deny | None:
        """Return `Allow`."""
        return _ALLOW


_ALLOW: Final = Allow()


class GateRule(msgspec.Struct, frozen=True, kw_only=True):
    """
    One rule of a `RuleGate`.

    Every list that is given must hold a glob that matches; ``args`` maps a JSON Pointer
    (RFC 6901) to the value, or the list of values, that must stand there.
    """

    decision: Literal["allow", "deny"]
    reason: str | None = None
    verbs: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    packs: tuple[str, ...] = ()
    effects: tuple[str, ...] = ()
    callers: tuple[str, ...] = ()
    actors: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    args: Mapping[str, Any] = {}
    obligations: tuple[Obligation, ...] = ()
    file: str | None = None
    line: int | None = None

    @property
    def place(self) -> str:
        """``file:line`` of the rule, or its decision where it has no position."""
        return f"{self.file}:{self.line}" if self.file else f"a {self.decision} rule"

    def matches(self, request: GateRequest) -> bool:
        """Return whether every condition of the rule holds for *request*."""
        return self.concerns(request) and all(
            _holds(request.args, *item) for item in self.args.items()
        )

    def concerns(self, request: GateRequest) -> bool:
        """Return whether all conditions but those on arguments hold for *request*."""
        context = request.context
        return (
            _any_glob(self.verbs, request.verb)
            and _any_glob(self.tools, context.tool_id)
            and _any_glob(self.packs, context.pack)
            and _any_glob(self.effects, context.effect)
            and _any_glob(self.callers, context.caller)
            and _any_glob(self.actors, str(request.actor))
            and _any_glob(self.namespaces, str(request.namespace))
        )


class RuleGate:
    """Ordered rules, first match wins, else *default*. Immutable."""

    __slots__ = ("_default", "_rules")
    impl_name = "RuleGate"

    def __init__(
        self,
        rules: Sequence[GateRule],
        *,
        default: Literal["allow", "deny"] = "allow",
    ) -> None:
        self._rules = tuple(rules)
        self._default = default

    @property
    def rules(self) -> tuple[GateRule, ...]:
        """The rules, in the order in which they are tried."""
        return self._rules

    @property
    def default(self) -> Literal["allow", "deny"]:
        """What holds where no rule matches."""
        return self._default

    def check(self, request: GateRequest) -> Allow | Deny:
        """Return the decision of the first rule that matches *request*."""
        for rule in self._rules:
            if rule.matches(request):
                return _decision_of(rule)
        return self._otherwise()

    def settled(self, request: GateRequest) -> Allow | Deny | None:
        """
        Return what `check` returns whatever the arguments are; None where they matter.

        Nothing else of *request* but its arguments and its call may change without
        being asked again: rules speak of actor, namespace, verb, tool and caller.
        """
        for rule in self._rules:
            if type(rule) is not GateRule:  # its conditions are its own
                return None
            if rule.concerns(request):
                return None if rule.args else _decision_of(rule)
        return self._otherwise()

    def _otherwise(self) -> Allow | Deny:
        if self._default == "allow":
            return _ALLOW
        return Deny("denied by default: no rule matches")


def settled_decision(gate: Gate, request: GateRequest) -> Allow | Deny | None:
    """
    Return what *gate* decides on each request that differs from *request* in nothing
    but arguments, call id, source, session and time; None if it has to be asked.

    Only the gates of this module are known well enough, and no subclass of theirs is.
    """
    if type(gate) is RuleGate or type(gate) is AllowAllGate:
        return gate.settled(request)
    return None


def _decision_of(rule: GateRule) -> Allow | Deny:
    if rule.decision == "allow":
        return Allow(rule.obligations)
    place = rule.place if rule.file else None
    return Deny(rule.reason or f"denied by {rule.place}", place)


def _any_glob(patterns: Sequence[str], text: str | None) -> bool:
    if not patterns or "*" in patterns:  # of everybody, so of nobody in particular too
        return True
    return text is not None and any(glob(pattern).match(text) for pattern in patterns)


@lru_cache(maxsize=4096)
def glob(pattern: str) -> re.Pattern[str]:
    """Return *pattern* (``*``, ``?``, ``[…]``) compiled; case counts on every system."""
    return re.compile(translate(pattern))


_ABSENT: Final = object()


def _holds(args: Any, pointer: str, wanted: Any) -> bool:
    found = resolve_pointer(args, pointer)
    if found is _ABSENT:
        return False
    choices = wanted if isinstance(wanted, list) else [wanted]
    return any(json_equal(found, one) for one in choices)


def json_equal(one: Any, other: Any) -> bool:
    """Return whether two JSON values are equal: 1 is 1.0, and neither is true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(json_equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            json_equal(value, other[key]) for key, value in one.items()
        )
    return bool(one == other)


def resolve_pointer(document: Any, pointer: str) -> Any:
    """Return what *pointer* (RFC 6901) names in *document*, or a private marker."""
    found = document
    for raw in pointer.split("/")[1:]:
        key = raw.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and key in found:
            found = found[key]
        elif isinstance(found, list) and key in map(str, range(len(found))):
            found = found[int(key)]
        else:
            return _ABSENT
    return found


# What looks like a secret in a reason: a name and a value, a bearer token, a JWT,
# the password of a URL.
_SECRETS: Final = (
    re.compile(
        r"(?i)\b((?:api[_-]?key|token|secret|password|passwd|pwd|authorization)"
        r"\s*[=:]\s*)(?:bearer\s+)?\S+"
    ),
    re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}"),
    re.compile(r"()\beyJ[\w-]+\.[\w-]+\.[\w-]*"),
    re.compile(r"(://[^/\s:@]*:)[^/\s@]+(?=@)"),
)


def mask_secrets(text: str) -> str:
    """Return *text* with what looks like a secret replaced by ``***``."""
    for pattern in _SECRETS:
        text = pattern.sub(r"\1***", text)
    return text


class AuditEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """The record of one gate decision; its msgspec JSON is the public form."""

    timestamp: str
    actor: ActorRef
    namespace: str
    verb: str
    decision: Decision
    gate_impl: str
    # From a factory so that omit_defaults still writes it, [] when none.
    obligations: tuple[Obligation, ...] = msgspec.field(default_factory=lambda: ())
    deny_reason: str | None = None
    session_id: str | None = None

    @classmethod
    def from_check(
        cls, request: GateRequest, decision: Allow | Deny, gate_impl: str
    ) -> AuditEvent:
        """Return the record of *decision* on *request*."""
        context = request.context
        return cls(
            timestamp=context.timestamp or now_rfc3339(),
            actor=request.actor,
            namespace=str(request.namespace),
            verb=request.verb,
            decision="allow" if isinstance(decision, Allow) else "deny",
            gate_impl=gate_impl,
            obligations=decision.obligations if isinstance(decision, Allow) else (),
            deny_reason=decision.reason if isinstance(decision, Deny) else None,
            session_id=context.session_id,
        )

    @classmethod
    def unavailable(
        cls, request: GateRequest, gate_impl: str, problem: str
    ) -> AuditEvent:
        """
        Return the record of a gate that could not decide on *request*.

        Args:
            problem: A fixed name of what was wrong, never the gate's own words.
        """
        event = cls.from_check(request, Deny(problem), gate_impl)
        return msgspec.structs.replace(event, decision="gate_unavailable")

    def to_json(self) -> bytes:
        """Return the public JSON form."""
        return msgspec.json.encode(self)
