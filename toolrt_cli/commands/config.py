"""``toolrt config``: which file counts, whether it is right, and to trust it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from toolrt import UnknownPackError
from toolrt.gate import glob
from toolrt_cli.config import (
    ConfigError,
    Fault,
    LoadedConfig,
    Located,
    digest_of,
    load,
    locate,
    read,
)
from toolrt_cli.config.faults import key_text
from toolrt_cli.config.problems import did_you_mean
from toolrt_cli.config.trust import state_of, trust
from toolrt_cli.escape import escape
from toolrt_cli.exit_codes import Exit
from toolrt_cli.grammar import UsageError
from toolrt_cli.output import emit_document
from toolrt_cli.packs import BrokenPack
from toolrt_cli.streams import Streams
from toolrt_cli.wiring import (
    Session,
    cwd,
    session_over,
    working_faults,
)


def path_command(streams: Streams, environ: Mapping[str, str]) -> int:
    """Print the file that counts, why it counts and whether it is trusted."""
    located = _locate(streams, environ)
    state = None
    if located.path is not None and located.origin == "found":
        state = state_of(located.path, digest_of(read(located)), environ)
    document = {"path": located.path, "origin": located.origin, "trust": state}

    def show() -> None:
        where = escape(located.path) if located.path else "built-in default"
        streams.out.write(where + "\n")
        trusted = f", trust: {state}" if state else ""
        streams.remark(f"origin: {located.origin}{trusted}")

    _emit(streams, "config_path", document, show)
    return Exit.OK


def validate_command(
    streams: Streams, environ: Mapping[str, str], file: str | None
) -> int:
    """
    Check the file that counts, or *file*, without asking for trust.

    Raises:
        ConfigError: It is not valid; every fault of it.
    """
    located = _locate(streams, environ, file)
    data = read(located) if located.path else b""
    loaded = load(located, data, is_examined=True)
    doubts: list[Fault] = []
    # What is not trusted is read, never run: its packs stay where they are.
    if located.origin != "found" or _is_trusted(located, data, environ):
        doubts += _doubts(_require_working(loaded, streams, environ))
    else:
        message = "not trusted: its packs and its gate were not loaded"
        doubts.insert(0, Fault(file=str(loaded.path), message=message))
    for doubt in doubts:
        streams.remark(_as_line(doubt))
    document = {
        "path": loaded.path,
        "sha256": loaded.sha256,
        "valid": True,
        "warnings": msgspec.to_builtins(doubts),
    }

    def show() -> None:
        streams.out.write(f"{escape(loaded.path or 'built-in default')}: valid\n")

    _emit(streams, "config_validate", document, show)
    return Exit.OK


def _as_line(doubt: Fault) -> str:
    key = f" {key_text(doubt.key_path)}" if doubt.key_path else ""
    hint = f"; {doubt.suggestion}" if doubt.suggestion else ""
    return f"{doubt.place}:{key} {doubt.message}{hint}"


def _doubts(session: Session) -> Iterator[Fault]:
    """Yield what is valid and yet cannot be what was meant."""
    config, declared = session.config, session.capabilities
    for name, caller in config.config.callers.items():
        for index, pattern in enumerate(caller.capabilities):
            if not any(glob(pattern).match(one) for one in declared):
                doubt = config.fault(
                    "no loaded pack declares such a capability",
                    *("callers", name, "capabilities", index),
                )
                hint = did_you_mean(pattern, declared)
                yield msgspec.structs.replace(doubt, suggestion=hint)
    if config.config.secrets.broker is None:
        for name, pack in config.config.pack.items():
            for verb, handler in pack.handler.items():
                if handler.secrets:
                    path = ("pack", name, "handler", verb, "secrets")
                    yield config.fault("cannot be had: there is no broker", *path)


def _is_trusted(located: Located, data: bytes, environ: Mapping[str, str]) -> bool:
    assert located.path is not None
    return state_of(located.path, digest_of(data), environ) == "trusted"


def _require_working(
    loaded: LoadedConfig, streams: Streams, environ: Mapping[str, str]
) -> Session:
    """
    Load what the config names and fit it together, as every call does.

    Raises:
        ConfigError: Packs that cannot be loaded, or do not fit; or no such gate. All of
            it.
    """
    session = session_over(loaded, streams.settings, environ)
    faults = [_fault_of(loaded, broken) for broken in session.broken]
    faults += working_faults(session)
    if faults:
        raise ConfigError(faults)
    return session


def _fault_of(loaded: LoadedConfig, broken: BrokenPack) -> Fault:
    at = loaded.config.runtime.packs.index(broken.listed)
    fault = loaded.fault(broken.problem, "runtime", "packs", at)
    if isinstance(broken.error, UnknownPackError):
        hint = did_you_mean(broken.listed, broken.error.available)
        return msgspec.structs.replace(fault, suggestion=hint)
    return fault


def trust_command(
    streams: Streams, environ: Mapping[str, str], file: str | None
) -> int:
    """
    Trust the file that was found, or *file*, with the content that it has now.

    Raises:
        ConfigError: The file is not valid, or the list of trust cannot be written.
        UsageError: There is no file to trust.
    """
    located = _locate(streams, environ, file)
    if located.path is None:
        raise UsageError("no config file was found", next_step="toolrt config path")
    data = read(located)
    loaded = load(located, data)
    digest = digest_of(data)
    try:
        trust(located.path, digest, environ)
    except OSError as exc:
        message = f"the trust list cannot be written: {exc.strerror}"
        raise ConfigError([Fault(file=str(exc.filename), message=message)]) from exc
    document = {"path": loaded.path, "sha256": digest, "trust": "trusted"}

    def show() -> None:
        path = escape(loaded.path or "")
        streams.out.write(f"trusted {path} (sha256 {digest[:12]}); an edit ends it\n")

    _emit(streams, "config_trust", document, show)
    return Exit.OK


def _locate(
    streams: Streams, environ: Mapping[str, str], file: str | None = None
) -> Located:
    if file == "":
        raise UsageError("the name of the file is empty")
    flag = streams.settings.config if file is None else file
    return locate(flag=flag, environ=environ, cwd=cwd())


def _emit(
    streams: Streams, schema: str, document: Mapping[str, Any], show: Any
) -> None:
    fmt = streams.settings.output
    emit_document(streams.out, schema, document, fmt, streams.out_terminal, show)
