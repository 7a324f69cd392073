"""
How an error is shown: what, where, and the next step; or one line of JSON.

The messages come from the errors; the advice is written here, in one table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from toolrt import errors
from toolrt.errors import ToolrtError
from toolrt_cli.config.faults import ConfigError, UntrustedConfigError, render
from toolrt_cli.escape import show, show_block
from toolrt_cli.grant_lines import Change
from toolrt_cli.json_text import ArgumentSyntaxError
from toolrt_cli.streams import Streams, silence


class Advice(msgspec.Struct, frozen=True):
    """What to say beside an error: details, then commands to type next."""

    details: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
    #: What to write into a file.
    change: Change | None = None


class InternalError(ToolrtError):
    """Something that toolrt did not foresee; where it happened is told on request."""

    code = "internal"
    next_step = "run it again with TOOLRT_DEBUG=1 and report what it prints"

    def __init__(self, exc: Exception) -> None:
        super().__init__(f"unexpected {type(exc).__name__}: {exc}")


class StoppedError(ToolrtError):
    """A signal ended the command; what ran until then is recorded."""

    code = "interrupted"

    def __init__(self, *, is_term: bool) -> None:
        super().__init__("terminated" if is_term else "interrupted")


class OutputError(ToolrtError):
    """What was to be printed could not be; what ran until then is recorded."""

    code = "output"

    def __init__(self, exc: Exception) -> None:
        super().__init__(f"the output cannot be written: {exc}")


class NotFoundError(ToolrtError):
    """A name that the operator typed is not known; `near` are names like it."""

    code = "not_found"

    def __init__(self, kind: str, name: str, near: tuple[str, ...] = ()) -> None:
        self.kind = kind
        self.name = name
        self.near = near
        super().__init__(f"unknown {kind} {name!r}")


class NotCoveredError(ToolrtError):
    """The record does not hold what was asked for: it begins later, or lacks a part."""

    code = "not_covered"
    next_step = "toolrt audit stats tells what the store covers"


def near_names(name: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return at most three of *known* that are like *name*."""
    import difflib

    by_folded = {one.casefold(): one for one in known}
    folded = name.casefold()
    inside = [one for key, one in by_folded.items() if folded and folded in key]
    close = difflib.get_close_matches(folded, by_folded, n=3, cutoff=0.5)
    return tuple(dict.fromkeys([*inside, *(by_folded[one] for one in close)]))[:3]


def report(error: ToolrtError, streams: Streams, advice: Advice | None = None) -> None:
    """
    Show *error* on standard error, as text or as one line of JSON.

    If standard error cannot be written, the exit code is all that is left to say it.
    """
    chosen = advice or advise(error)
    streams.out.flush()
    if streams.settings.is_json:
        text = _as_json(error, chosen)
    else:
        text = "\n".join(_as_text(error, chosen, streams))
    try:
        streams.err.write(text + "\n")
        streams.err.flush()
    except OSError:
        silence(streams.err)


def _as_json(error: ToolrtError, advice: Advice) -> str:
    from toolrt_cli.output import to_json

    return to_json({"error": _body(error, advice)})


def _body(error: ToolrtError, advice: Advice) -> dict[str, Any]:
    body: dict[str, Any] = {"code": _code(error), "message": _message(error)}
    body["next"] = list(advice.next)
    if advice.change is not None:
        body["change"] = msgspec.to_builtins(advice.change)
    notes = getattr(error, "__notes__", [])
    if notes:
        body["notes"] = list(notes)
    if error.call_id:
        body["call_id"] = error.call_id
    if isinstance(error, errors.ToolFailedError):
        body["tool_code"] = error.code
        body["text"] = error.text
    if isinstance(error, errors.DelegationRefusedError):
        body["reason"], body["digest"] = error.reason, error.token
    if isinstance(error, errors.InvalidArgsError | ConfigError | ArgumentSyntaxError):
        body["faults"] = msgspec.to_builtins(error.faults)
    if isinstance(error, ConfigError):
        first = error.faults[0]
        body["source"] = {n: getattr(first, n) for n in ("file", "line", "column")}
    place = getattr(error, "place", None)
    if place:
        file, _, line = place.rpartition(":")
        if not (line.isascii() and line.isdigit()):  # a gate of others may say anything
            file, line = place, ""
        body["source"] = {
            "file": file,
            "line": int(line) if line else None,
            "column": None,
        }
    near = getattr(error, "suggestions", ()) or getattr(error, "near", ())
    if near:
        body["suggestions"] = list(near)
    failure = getattr(error, "failure", None)
    if failure is not None:  # how the tool itself ended, of a record that was lost
        body["failure"] = _body(failure, advise(failure))
    body["retryable"] = error.retryable
    return body


def _code(error: ToolrtError) -> str:
    """Return the code of *error* in toolrt's own terms; a tool's is ``tool_code``."""
    if isinstance(error, errors.ToolTimeoutError):
        return "timeout"
    if isinstance(error, errors.RecordLostError) and _is_spooled(error):
        return "record_spooled"
    return "tool_failed" if isinstance(error, errors.ToolFailedError) else error.code


def _as_text(error: ToolrtError, advice: Advice, streams: Streams) -> list[str]:
    if isinstance(error, ConfigError):  # drawn with snippets, steps and all; escaped
        return [render(error.faults)]
    lines = [f"{_red('error', streams)}: {show(_message(error))}"]
    if isinstance(error, ArgumentSyntaxError):
        lines += [f"  {line}" for line in error.lines()]  # escaped already
    if isinstance(error, errors.ToolFailedError) and error.text:
        lines += [f"  {line}" for line in show_block(error.text).splitlines()]
    lines += [f"  {show(note)}" for note in getattr(error, "__notes__", [])]
    lines += [f"  {show(detail)}" for detail in advice.details]
    if advice.change is not None:
        lines += [f"  {show(line)}" for line in advice.change.as_text()]
    if error.call_id:
        lines.append(f"  record {error.call_id}")
    return [*lines, *(f"next: {show(step)}" for step in advice.next)]


def _red(text: str, streams: Streams) -> str:
    return f"\x1b[31m{text}\x1b[0m" if streams.err_terminal.colour else text


def _message(error: ToolrtError) -> str:
    if isinstance(error, errors.ToolNotFoundError):
        return f"unknown tool {error.name!r}"
    if isinstance(error, errors.InvalidArgsError):
        count = len(error.faults)
        return f"{error.tool_id}: {count} fault{'s' * (count > 1)} in the arguments"
    if isinstance(error, ArgumentSyntaxError):
        return "the arguments cannot be read; nothing was run"
    if isinstance(error, errors.RecordLostError) and _is_spooled(error):
        return f"the tool ran, its record waits in the spool: {error.__cause__}"
    return str(error)


def advise(error: ToolrtError) -> Advice:
    """Return what to say beside *error*, as far as the error alone can tell."""
    if error.code == "confirmation_required":
        return _unconfirmed(error)
    for kind, make in _ADVICE.items():
        if isinstance(error, kind):
            return make(error)
    return Advice(next=tuple(filter(None, [getattr(error, "next_step", None)])))


def _unknown_tool(error: Any) -> Advice:
    return Advice(
        details=_did_you_mean(error.suggestions), next=("toolrt pack handlers",)
    )


def _unknown_name(error: Any) -> Advice:
    step = _NAME_STEPS.get(error.kind)
    return Advice(
        details=_did_you_mean(error.near), next=(step,) if step is not None else ()
    )


#: Where the names of a kind are listed.
_NAME_STEPS: Final = {
    "caller": "toolrt config show, toolrt identity list and toolrt audit values caller",
    "capability": "toolrt pack handlers",
    "identity": "toolrt identity list",
    "time or call": "toolrt help time; toolrt audit query lists the calls",
}


def _did_you_mean(names: tuple[str, ...]) -> tuple[str, ...]:
    return (f"did you mean {', '.join(names)}?",) if names else ()


def _bad_arguments(error: Any) -> Advice:
    return Advice(details=tuple(_fault_line(fault) for fault in error.faults))


def _fault_line(fault: Any) -> str:
    got = "" if fault.value is None else f", got {fault.value}"
    return f"{fault.path or 'arguments'}: {fault.rule}{got}"


def _refused_by_gate(error: Any) -> Advice:
    place = getattr(error, "place", None)
    return Advice(
        details=(f"rule {place}",) if place else (),
        next=(f"toolrt audit show {error.call_id}",) if error.call_id else (),
    )


def _unconfirmed(error: Any) -> Advice:
    steps = () if error.was_asked else ("add --yes to answer yes",)
    nothing = "run" if hasattr(error, "tool_id") else "done"
    return Advice(details=(f"nothing was {nothing}",), next=steps)


def _untrusted(error: Any) -> Advice:
    return Advice(next=(f"toolrt config trust {error.path}",))


def _no_record(error: Any) -> Advice:
    cause = getattr(error.__cause__, "code", "")
    return Advice(details=("nothing was run",), next=(_store_step(cause),))


def _store_fault(error: Any) -> Advice:
    return Advice(next=(_store_step(error.code),))


def _store_step(code: str) -> str:
    return _STORE_STEPS.get(
        code, "check the path, its permissions and free space, or name another: --store"
    )


_STORE_STEPS: Final = {
    "store_locked": "try again: another process is writing, or holds the lock",
    "store_too_new": "use the toolrt that wrote it, or a later one",
    "store_missing": "toolrt audit path tells where it is looked for",
    "integrity": "keep the file as it is for an examination; name another: --store",
    "anchor": "name the file that was told of the checkpoints: --anchor, store.anchor",
    "seal_key": "toolrt doctor tells what is wrong with the key and the store",
    "seal_key_missing": "put the key of the store back; without it nothing is signed",
    "select": "the view event_log has the record as text: SELECT * FROM event_log",
    "not_found": "toolrt audit query lists what there is",
}


def _lost_record(error: Any) -> Advice:
    if _is_spooled(error):
        return Advice(details=("the next call, or open for writing, stores it",))
    if isinstance(error.__cause__, errors.SinkError):
        return Advice(details=("the store has the record: audit query shows it",))
    return Advice(
        details=("the gate event is stored: audit query shows it as interrupted",)
    )


def _is_spooled(error: ToolrtError) -> bool:
    return getattr(error.__cause__, "code", "") == "record_spooled"


_ADVICE: Final[dict[type[ToolrtError], Callable[[Any], Advice]]] = {
    UntrustedConfigError: _untrusted,
    errors.ToolNotFoundError: _unknown_tool,
    NotFoundError: _unknown_name,
    errors.InvalidArgsError: _bad_arguments,
    errors.PermissionDeniedError: _refused_by_gate,
    errors.GateUnavailableError: _refused_by_gate,
    errors.AuditUnavailableError: _no_record,
    errors.StoreError: _store_fault,
    errors.RecordLostError: _lost_record,
}
