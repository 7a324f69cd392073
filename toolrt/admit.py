"""
The first half of the pipeline: from a call to an attempt that may run, or to its end.

The numbered comments are the stages, and their order decides which failure is reported:

1 resolve, 2 namespace, 3 gate, 4 gate event durable, 5 capabilities, 6 limits,
7 arguments, 8 dry run. A failure before stage 3 gates nothing; one at stage 4 runs
nothing; an unknown name is held back until stage 4 is done, so that asking for it is
recorded like any other call. What comes after is in ``toolrt.settle``.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from math import inf
from typing import Any, Final

import msgspec

from toolrt.asking import listener, pass_gate
from toolrt.attempt import CANONICAL, Attempt, details_of, storable
from toolrt.call import Core, Standing, Tool, ToolCall, not_found
from toolrt.clock import new_ulid
from toolrt.cursor import CursorInvalidError
from toolrt.errors import (
    CapabilityDeniedError,
    DelegationRefusedError,
    InvalidArgsError,
    InvalidInputError,
    ToolrtError,
)
from toolrt.gate import Allow
from toolrt.namespace import ActorRef, Namespace
from toolrt.schema import with_defaults
from toolrt.settle import settle, settle_failure
from toolrt.standing import find_standing, names_only_a_caller, remember_standing

_DECODER: Final = msgspec.json.Decoder()


def admit(core: Core, call: ToolCall, parent: Attempt | None = None) -> Attempt:
    """
    Take *call* through stages 1 to 8: an attempt to run, or one that has ended.

    Args:
        parent: The attempt whose handler makes this call.
    """
    tool = core.names.get(call.tool)  # 1
    known = None
    if tool is not None and parent is None and names_only_a_caller(call):
        known = tool.standings.get(call.caller)
    if tool is None or known is None:
        attempt = _begin(core, call, parent)
    else:
        at_us = core.clock.now_us()
        attempt = Attempt(
            core=core,
            call=call,
            call_id=new_ulid(at_us),
            started_us=at_us,
            started_ns=core.clock.monotonic_ns(),
            tool=tool,
            tool_id=tool.tool_id,
            namespace=core.namespace,
            standing=known,
        )
    try:
        if known is None:
            _require_storable(call)  # as it was given: the attempt has it escaped
        _decide(attempt, is_known=known is not None)
    except ToolrtError as exc:
        return settle(attempt, None, exc)
    except BaseException as exc:  # noqa: BLE001 - policy code of others may raise anything
        return settle_failure(attempt, exc)
    if call.dry_run:  # 8
        preview = {
            "dry_run": True,
            "tool_id": attempt.tool_id,
            "args_preview": attempt.params,
        }
        return settle(attempt, preview)
    return attempt


def _decide(attempt: Attempt, *, is_known: bool) -> None:
    """2 to 7, in one function: each more that is called costs a hundredth of a call."""
    core, call = attempt.core, attempt.call
    if call.timeout_s is not None:
        _require_time(call.timeout_s)
    _place(attempt)  # 2
    if not is_known or attempt.namespace is not core.namespace:
        _stand(attempt)
    tool, standing = attempt.tool, attempt.standing
    attempt.details = standing.details or details_of(attempt)
    if (
        core.store is not None
        or type(standing.decision) is not Allow
        or listener() is not None
    ):
        pass_gate(attempt)  # 3 and 4
    else:
        attempt.decision = "allow"
        attempt.limits = standing.limits
    if tool is None:
        raise not_found(core, call.tool)
    refusal = standing.granted.refusal
    if refusal is not None:  # 5: a token that does not hold takes everything with it
        raise DelegationRefusedError(
            refusal.code,
            refusal.token,
            sorted(tool.required),
            caller=call.caller,
            tool_id=tool.tool_id,
        )
    if standing.missing:  # every missing capability at once
        raise CapabilityDeniedError(
            sorted(tool.required),
            standing.capabilities,
            standing.missing,
            caller=call.caller,
            tool_id=tool.tool_id,
        )
    if attempt.over_limit is not None:  # 6: concurrency and rate, without waiting
        raise attempt.over_limit
    if attempt.limits is not None:
        core.limiter.admit(attempt.limits, attempt.started_ns)
        attempt.counted = True
    params = attempt.params
    if not tool.takes_namespace and isinstance(params, dict) and "namespace" in params:
        del params["namespace"]
    faults = tool.check(params)  # 7: every fault of the arguments at once
    if faults:
        raise InvalidArgsError(faults, tool_id=tool.tool_id)
    if tool.definition.paginates or call.cursor is not None:
        _read_cursor(attempt, tool)


def _begin(core: Core, call: ToolCall, parent: Attempt | None) -> Attempt:
    """1: resolve the name; an unknown one goes on as it was given."""
    if parent is not None:  # whatever the handler says, it calls as its own caller
        call = msgspec.structs.replace(
            call,
            caller=parent.call.caller,
            actor=parent.standing.actor,
            source=parent.call.source,
            session_id=parent.call.session_id,
            proofs=parent.call.proofs,
        )
    tool = core.names.get(call.tool) or _sub_handler(core, call.tool, parent)
    call = msgspec.structs.replace(
        call,
        tool=storable(call.tool),
        caller=None if call.caller is None else storable(call.caller),
    )
    if call.actor is not None:
        actor = ActorRef(storable(call.actor.kind), storable(call.actor.id))
    elif call.caller:
        actor = ActorRef("caller", call.caller)
    else:
        actor = ActorRef.anonymous()
    at_us = core.clock.now_us()
    return Attempt(
        core=core,
        call=call,
        call_id=new_ulid(at_us),
        started_us=at_us,
        started_ns=core.clock.monotonic_ns(),
        tool=tool,
        tool_id=call.tool if tool is None else tool.tool_id,
        namespace=core.namespace if parent is None else parent.namespace,
        standing=Standing(actor=actor),
        parent=parent,
    )


def _sub_handler(core: Core, name: str, parent: Attempt | None) -> Tool | None:
    """Return the sub-handler *name* of the pack whose handler makes the call."""
    if parent is None or parent.tool is None:
        return None
    own = parent.tool.pack
    return core.sub_handlers.get((own, name.removeprefix(f"{own}:")))


def _require_storable(call: ToolCall) -> None:
    """Refuse names that no record can hold as they are; the record escapes them."""
    for field in ("tool", "caller", "session_id", "reason"):
        text = getattr(call, field)
        if text is not None and storable(text) != text:
            raise InvalidInputError(f"{field}: must be UTF-8 text without NUL")
    if call.actor is not None and storable(str(call.actor)) != str(call.actor):
        raise InvalidInputError("actor: must be UTF-8 text without NUL")
    for text in (*call.labels.keys(), *call.labels.values()):
        if storable(str(text)) != text:
            raise InvalidInputError("labels: must be UTF-8 text without NUL")


def _require_time(timeout_s: Any) -> None:
    """Refuse a deadline that is none: zero, in the past, without end, no number."""
    is_number = isinstance(timeout_s, int | float) and not isinstance(timeout_s, bool)
    if not is_number or not 0 < timeout_s < inf:
        raise InvalidInputError("timeout_s: must be a positive, finite number")


def _place(attempt: Attempt) -> None:
    """2: read the namespace and take a private copy of the arguments."""
    params, tool = attempt.call.params, attempt.tool
    if params is None:
        params = {}
    # isinstance of an abstract class takes several times as long as a look at the type.
    if type(params) is dict or isinstance(params, Mapping):
        if "namespace" in params:
            named = params["namespace"]
            if not isinstance(named, str):
                raise InvalidInputError("namespace: must be string")
            attempt.namespace = Namespace.parse(named)
        if tool is not None and (tool.defaults or type(params) is not dict):
            params = with_defaults(tool.defaults, params)
    # The gate, the tool and the digest see one value that nobody else can change.
    try:
        attempt.params = _DECODER.decode(CANONICAL.encode(params))
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise InvalidInputError("arguments: must be JSON") from exc
    # NaN would have become null, a set a list, without a word.
    if attempt.params != params and not _is_same_json(attempt.params, params):
        raise InvalidInputError("arguments: must be JSON")


def _is_same_json(decoded: Any, given: Any) -> bool:
    """Return whether *given* is what JSON made of it, tuples being arrays."""
    if isinstance(decoded, dict) and isinstance(given, Mapping):
        return decoded.keys() == given.keys() and all(
            _is_same_json(value, given[key]) for key, value in decoded.items()
        )
    if isinstance(decoded, list) and isinstance(given, list | tuple):
        return len(decoded) == len(given) and all(map(_is_same_json, decoded, given))
    return bool(decoded == given)


def _stand(attempt: Attempt) -> None:
    """3 and 5, what of them needs no arguments: who asks, and what that one is granted."""
    attempt.standing = find_standing(attempt)
    if attempt.tool is not None:
        remember_standing(attempt, attempt.tool)


def _read_cursor(attempt: Attempt, tool: Tool) -> None:
    """7, for a page that goes on: the cursor belongs to this tool, caller, arguments."""
    if not tool.definition.paginates:
        raise CursorInvalidError("tool")
    attempt.args_hash = sha256(CANONICAL.encode(attempt.params)).digest()
    if attempt.call.cursor is not None:
        attempt.cursor = attempt.core.cursors.read(
            attempt.call.cursor,
            tool_id=tool.tool_id,
            caller=attempt.call.caller,
            args_digest=attempt.args_hash,
            now_us=attempt.core.clock.now_us(),
        )
