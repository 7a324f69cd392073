"""From a file to a config, or to all of its faults with their places."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from toolrt.gate import AuditObligation, RateLimitObligation
from toolrt_cli.config import (
    ConfigError,
    Fault,
    LoadedConfig,
    Located,
    Position,
    digest_of,
    load,
    model,
)

EXAMPLE = """\
[runtime]
namespace = "local"
packs = ["std", "git", "myteam.tools:pack"]
default_caller = "alice"     # else os:<login name>

[store]
path = "audit.db"            # default: the user state dir
durability = "full"
retention = "180d"

[gate]
kind = "rules"               # allow-all | rules | python:module:attr
default = "allow"
on_error = "deny"
[[gate.rule]]
decision = "deny"
verbs = ["shell.*"]
callers = ["ci-*"]
reason = "no shells in CI"

[callers."ci-bot"]
actors = ["os:deploy"]
did = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"
capabilities = ["fs:read", "repo:*"]

[ucan]
[[ucan.root]]
did = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"
capabilities = ["repo:read"]

[[sink]]
kind = "jsonl"
path = "calls.jsonl"
capacity = 1024
backpressure = "block"       # drop | block | fallback
timeout = "10s"

[pack.git]
description = "Read-only git"
[pack.git.handler."git.log"]
description = "Recent commits"
command = ["git", "-C", "{repo}", "log", "--oneline", "-n", "{limit}"]
capabilities = ["repo:read"]
effect = "read"
output = "lines"             # text | json | ndjson | lines
timeout = "10s"
[pack.git.handler."git.log".args]
repo = { type = "string", default = "." }
limit = { type = "integer", default = 10, minimum = 1, maximum = 1000 }
"""

EVERY_OTHER_KEY = """\
[runtime]
confirm = ["write", "destructive"]
tiers.hot = { timeout = "250ms", max_output = "32KiB" }
[store]
group = "audit"
lock_timeout = "0s"
reserve = 0
anchor = "checkpoints.txt"
[gate]
kind = "rules"
[[gate.rule]]
decision = "allow"
tools = ["std:*"]
packs = ["std"]
effects = ["read"]
actors = ["os:*"]
namespaces = ["local"]
args = { "/path" = ["a", "b"], "/deep/er" = 1 }
obligations = [
  { kind = "audit", tag = "pii" },
  { kind = "rate_limit", window_secs = 60, max = 5 },
  { kind = "custom", value = { any = [1] } },
]
[callers.x]
proofs = ["x.token"]
[ucan]
bearer = true
max_depth = 3
max_ttl = "7d"
leeway = "30s"
revocations = "revoked.txt"
[[sink]]
kind = "stderr"
backpressure = "fallback"
fallback = "lost.jsonl"
required = true
[[sink]]
kind = "jsonl"
path = "x"
rotate_bytes = "10MB"
[pack.p]
requires = ["std"]
[pack.p.handler.run]
command = ["/bin/x", "{{literal}}", "--{name}={list}"]
tier = "cold"
max_output = 1024
max_concurrent = 1
rate_limit_per_min = 30
env = ["LANG"]
stdin = "body"
cwd = "~/x"
exit_codes = { 1 = "ok", 2 = "NOT_FOUND" }
allow_dash = ["name"]
secrets = ["token"]
[pack.p.handler.run.args]
body = {}
name = { description = "d", enum = ["a", "b"], default = "a" }
list = { type = "array", items = { type = "string", minLength = 1, maxLength = 3, pattern = "^a" } }
[std]
roots = ["data"]
fetch_private = true
max_bytes = "1MiB"
[secrets]
broker = "file"
path = "secrets"
[middleware]
redact_paths = ["/home/*"]
"""


def _load(tmp_path: Path, source: str | bytes) -> LoadedConfig:
    file = tmp_path / "toolrt.toml"
    file.write_bytes(source if isinstance(source, bytes) else source.encode())
    return load(Located(str(file), "flag"))


def _faults(tmp_path: Path, source: str | bytes) -> tuple[Fault, ...]:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, source)
    return caught.value.faults


class TestValid:
    """What a good file becomes."""

    def test_design_example(self, tmp_path: Path) -> None:
        """The example of the design loads, each value with its type."""
        config = _load(tmp_path, EXAMPLE).config

        assert config.runtime.packs == ("std", "git", "myteam.tools:pack")
        assert config.store.retention == 180 * 86_400
        assert config.gate.rule == (
            model.Rule(
                decision="deny",
                verbs=("shell.*",),
                callers=("ci-*",),
                reason="no shells in CI",
            ),
        )
        assert config.callers["ci-bot"].actors == ("os:deploy",)
        assert config.ucan.root[0].capabilities == ("repo:read",)
        assert config.sink[0].timeout == 10
        handler = config.pack["git"].handler["git.log"]
        assert (handler.output, handler.timeout) == ("lines", 10)
        assert handler.input_schema() == {
            "type": "object",
            "properties": {
                "repo": {"type": "string", "default": "."},
                "limit": {
                    "type": "integer",
                    "default": 10,
                    "minimum": 1,
                    "maximum": 1000,
                },
            },
            "additionalProperties": False,
        }

    def test_every_other_key(self, tmp_path: Path) -> None:
        """Every key that the example leaves out loads, too."""
        config = _load(tmp_path, EVERY_OTHER_KEY).config

        assert config.runtime.tiers["hot"] == model.TierTable(
            timeout=0.25, max_output=32 * 1024
        )
        assert (config.store.lock_timeout, config.store.reserve) == (0, 0)
        assert config.gate.rule[0].args == {"/path": ["a", "b"], "/deep/er": 1}
        assert config.gate.rule[0].obligations[:2] == (
            AuditObligation("pii"),
            RateLimitObligation(60, 5),
        )
        assert config.sink[1].rotate_bytes == 10_000_000
        handler = config.pack["p"].handler["run"]
        assert handler.exit_codes == {"1": "ok", "2": "NOT_FOUND"}
        assert handler.input_schema()["required"] == ["body", "list"]
        assert handler.input_schema()["properties"]["list"]["items"] == {
            "type": "string",
            "pattern": "^a",
            "minLength": 1,
            "maxLength": 3,
        }
        assert handler.input_schema()["properties"]["name"]["enum"] == ["a", "b"]

    def test_no_file_is_the_default(self) -> None:
        """Without a file the pack std is loaded and nobody is granted anything."""
        loaded = load(Located(None, "default"))

        assert (loaded.path, loaded.sha256, loaded.origin) == (None, None, "default")
        assert loaded.config == model.Config()
        assert loaded.config.runtime.packs == ("std",)
        assert loaded.config.callers == {}
        assert loaded.position("runtime") is None

    def test_empty_file_is_the_default(self, tmp_path: Path) -> None:
        """An empty file says what no file says."""
        assert _load(tmp_path, "").config == model.Config()

    def test_quantities_are_plain_numbers(self, tmp_path: Path) -> None:
        """Durations and sizes are float and int, so that everything encodes them."""
        config = _load(tmp_path, EXAMPLE + '[std]\nmax_bytes = "1KiB"\n').config

        assert type(config.store.retention) is float
        assert type(config.store.lock_timeout) is float
        assert type(config.std.max_bytes) is int
        assert msgspec.json.decode(msgspec.json.encode(config))["std"] == {
            "roots": None,
            "fetch_private": False,
            "max_bytes": 1024,
        }

    def test_digest_and_source_are_of_the_bytes(self, tmp_path: Path) -> None:
        """The digest is of the bytes as they stand, line ends included."""
        data = EXAMPLE.replace("\n", "\r\n").encode()

        loaded = _load(tmp_path, data)

        assert loaded.sha256 == hashlib.sha256(data).hexdigest() == digest_of(data)
        assert loaded.source.encode() == data

    def test_given_bytes_are_used(self, tmp_path: Path) -> None:
        """Bytes that were read before count, not what the file holds by now."""
        file = tmp_path / "toolrt.toml"
        file.write_text("not TOML")

        loaded = load(Located(str(file), "found"), b'[runtime]\nnamespace = "x"\n')

        assert loaded.config.runtime.namespace == "x"

    def test_positions(self, tmp_path: Path) -> None:
        """Grants, rules and handlers know their place."""
        loaded = _load(tmp_path, EXAMPLE)

        assert loaded.position("callers", "ci-bot", "capabilities", 1) == Position(
            24, 28, 8
        )
        assert loaded.position("gate", "rule", 0) == Position(15, 1, 13)
        assert loaded.position("gate", "rule", 0, "verbs") == Position(17, 1, 5)
        assert loaded.position("pack", "git", "handler", "git.log") == Position(
            40, 19, 9
        )
        assert loaded.position("gate", "rule", 1) is None

    def test_resolve(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Paths are relative to the file, to home after a tilde, or absolute."""
        monkeypatch.setenv("HOME", "/home/alice")
        loaded = _load(tmp_path, "")

        assert loaded.resolve("audit.db") == str(tmp_path / "audit.db")
        assert loaded.resolve("~/audit.db") == "/home/alice/audit.db"
        assert loaded.resolve("/srv/audit.db") == "/srv/audit.db"

    def test_resolve_without_a_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without a file, paths are relative to the working directory."""
        monkeypatch.chdir(tmp_path)

        found = load(Located(None, "default")).resolve("x")

        assert found == str(tmp_path / "x")


class TestNotToml:
    """A file that is no TOML has one fault, with its place."""

    @pytest.mark.parametrize(
        ("source", "line", "column", "message"),
        [
            pytest.param("a = \n", 1, 5, "invalid value", id="no value"),
            pytest.param("x = 1\r\n[y\r\n", 2, 3, "expected ']'", id="CRLF"),
            pytest.param("x = 1\nx = 2\n", 2, 6, "cannot overwrite", id="twice"),
            pytest.param('x = "', 1, 6, "unterminated string", id="at the end"),
            pytest.param("é = 1\n", 1, 1, "invalid statement", id="bare letter"),
            pytest.param(b"a = 1\nb = '\xff'\n", 2, 6, "not UTF-8", id="no UTF-8"),
        ],
    )
    def test_one_fault_with_its_place(
        self, tmp_path: Path, source: str | bytes, line: int, column: int, message: str
    ) -> None:
        """Line and column are those of the fault, whatever Python reports."""
        (fault,) = _faults(tmp_path, source)

        assert (fault.line, fault.column) == (line, column)
        assert message in fault.message
        text = source if isinstance(source, str) else source.decode(errors="replace")
        assert fault.snippet == (text.splitlines()[line - 1] if text else "")

    def test_nested_too_deeply(self, tmp_path: Path) -> None:
        """Nesting past the interpreter's stack is a fault and no crash."""
        (fault,) = _faults(tmp_path, "a = " + "[" * 100_000 + "]" * 100_000)

        assert fault.message.startswith("not valid TOML")


def test_a_valid_config_needs_few_imports(tmp_path: Path) -> None:
    """Loading a valid file imports nothing that only faults, tables or checks need."""
    file = tmp_path / "toolrt.toml"
    file.write_text(EXAMPLE)
    code = (
        "import os, sys\n"
        "from toolrt_cli.config import open_config\n"
        "found = open_config(flag=sys.argv[1], environ=os.environ, cwd='/')\n"
        "assert found.config.runtime.default_caller == 'alice'\n"
        "print(*sys.modules)\n"
    )

    run = subprocess.run(
        [sys.executable, "-c", code, str(file)],
        capture_output=True,
        text=True,
        check=True,
    )

    unwanted = {
        "asyncio",
        "difflib",
        "importlib.metadata",
        "pathlib",
        "platformdirs",
        "pydantic",
        "rich",
        "sqlite_utils",
        "tomlkit",
        "toolrt_cli.config.positions",
        "toolrt_cli.config.structure",
        "typer",
    }
    assert not unwanted & set(run.stdout.split())
