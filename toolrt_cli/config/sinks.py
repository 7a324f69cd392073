"""What is wrong with the sinks of a config, each alone and all of them together."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from toolrt_cli.config.faults import Path, quote
from toolrt_cli.config.problems import Problem

_STREAMS = ("stdout", "stderr")


def target_of(name: str, path: str | None = None) -> tuple[str, str]:
    """Return what a sink of kind *name* over *path*, or a fallback *name*, writes to."""
    if path is None and name in _STREAMS:
        return "stream", name
    return "file", os.path.normpath(name if path is None else path)


def sink_problems(sinks: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    """Yield what is wrong with the tables *sinks*."""
    behind: dict[tuple[str, str], tuple[str, str]] = {}
    seen = set()
    for index, sink in enumerate(sinks):
        path: Path = ("sink", index)
        yield from _problems(sink, path)
        target = _target(sink)
        if target is None:
            continue
        if target in seen:
            message = f"another sink writes to {quote(target[1])} already"
            key = "path" if target[0] == "file" else "kind"
            yield Problem(path=(*path, key), message=message)
            continue
        seen.add(target)
        fallback = sink.get("fallback")
        if isinstance(fallback, str) and fallback:
            behind[target] = target_of(fallback)
            if _leads_to(target, behind):
                message = "the fallbacks lead back to this sink"
                yield Problem(path=(*path, "fallback"), message=message)
                del behind[target]


def _target(sink: Mapping[str, Any]) -> tuple[str, str] | None:
    kind, path = sink.get("kind"), sink.get("path")
    if kind in _STREAMS:
        return target_of(str(kind))
    return target_of("jsonl", path) if isinstance(path, str) and path else None


def _leads_to(
    target: tuple[str, str], behind: Mapping[tuple[str, str], tuple[str, str]]
) -> bool:
    """Whether the way over the fallbacks from *target* comes back to it."""
    # No way goes round elsewhere: what closed a circle was taken out of *behind*.
    at = behind[target]
    while at != target and at in behind:
        at = behind[at]
    return at == target


def _problems(sink: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    kind, strategy = sink.get("kind"), sink.get("backpressure")
    if kind == "jsonl" and "path" not in sink:
        message = 'a sink of kind "jsonl" needs the key "path"'
        yield Problem(path=(*path, "path"), message=message)
    for key in ("path", "rotate_bytes"):
        if kind in _STREAMS and key in sink:
            message = f"a sink of kind {quote(str(kind))} takes no key {quote(key)}"
            yield Problem(path=(*path, key), message=message, at="key")
    if strategy == "fallback" and "fallback" not in sink:
        message = 'backpressure "fallback" needs the key "fallback"'
        yield Problem(path=(*path, "fallback"), message=message)
    if strategy != "fallback" and "fallback" in sink:
        message = 'key "fallback" needs backpressure = "fallback"'
        yield Problem(path=(*path, "fallback"), message=message, at="key")
    if strategy == "drop" and sink.get("required") is True:
        message = "a required sink must not drop"
        hint = 'write "block" or "fallback"'
        yield Problem(path=(*path, "backpressure"), message=message, suggestion=hint)
