"""``toolrt run``, end to end through main(argv)."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from toolrt import Registry, RegistryBuilder

from .conftest import Cli, Ran

WriteConfig = Callable[[str], Path]

POLICY = """
[runtime]
packs = ["std", "cmd"]
default_caller = "alice"

[gate]
kind = "rules"
[[gate.rule]]
decision = "deny"
verbs = ["sys.*"]
callers = ["ci-*"]
reason = "not in CI"

[callers.alice]
capabilities = ["fs:*", "cmd:run"]
[callers."ci-bot"]
capabilities = []
[callers.guarded]
actors = ["os:nobody-like-this"]
capabilities = ["fs:read"]

[pack.cmd]
[pack.cmd.handler."cmd.fail"]
command = ["sh", "-c", "echo half; echo no room >&2; exit 3"]
exit_codes = { "3" = "NO_ROOM" }
[pack.cmd.handler."cmd.mark"]
command = ["touch", "{file}"]
capabilities = ["cmd:run"]
effect = "write"
[pack.cmd.handler."cmd.mark".args]
file = { type = "string" }
[pack.cmd.handler."cmd.wipe"]
command = ["true"]
effect = "destructive"
[pack.cmd.handler."cmd.sleep"]
command = ["sleep", "{seconds}"]
[pack.cmd.handler."cmd.sleep".args]
seconds = { type = "number" }
[pack.cmd.handler."cmd.code"]
command = ["echo", "{code}", "{reason}"]
[pack.cmd.handler."cmd.code".args]
code = { type = "string" }
reason = { type = "string", default = "none" }
[pack.cmd.handler."cmd.slow"]
command = ["true"]
rate_limit_per_min = 1
[pack.cmd.handler."cmd.empty"]
command = ["true"]
"""


@pytest.fixture
def policy(config: WriteConfig) -> Path:
    return config(POLICY)


class TestWithoutConfig:
    """A fresh machine: pack std, nothing granted."""

    def test_a_tool_without_capabilities_runs(self, cli: Cli) -> None:
        """echo.say needs nothing; its result is one line of JSON on a pipe."""
        ran = cli("run", "echo.say", "text=hi")

        assert ran == Ran(0, '{"echoed":{"text":"hi"}}\n', "")

    def test_a_refusal_names_what_to_add_and_where(self, cli: Cli, home: Path) -> None:
        """Capability, caller, file and the exact lines: adding them is enough."""
        Path("README.md").write_text("# hello\n")
        refused = cli("run", "fs.read", "path=README.md", "--as", "alice")
        lines = [line.strip() for line in refused.err.splitlines()]
        at = lines.index(f"add to {home}/config/toolrt/toolrt.toml:")

        path = home / "config" / "toolrt" / "toolrt.toml"
        path.parent.mkdir(parents=True)
        path.write_text("\n".join(lines[at + 1 : at + 3]))
        allowed = cli("run", "fs.read", "path=README.md", "--as", "alice")

        assert refused.code == 3
        assert refused.out == ""
        assert "caller 'alice' lacks fs:read, needed by std:fs.read" in refused.err
        assert lines[at + 1 : at + 3] == [
            '[callers."alice"]',
            'capabilities = ["fs:read"]',
        ]
        assert allowed == Ran(0, "# hello\n", "")

    def test_the_caller_is_the_login_by_default(self, cli: Cli) -> None:
        """Without a config the actor itself is the caller."""
        error = cli("run", "fs.read", "path=x", "-o", "json").error

        assert error["code"] == "capability_denied"
        assert "caller 'os:" in error["message"]
        assert error["change"]["lines"][1] == 'capabilities = ["fs:read"]'
        assert error["retryable"] is False

    def test_a_caller_nobody_knows_is_a_caller_without_grants(self, cli: Cli) -> None:
        """run --as a stranger is 3, not 4."""
        assert cli("run", "fs.read", "path=x", "--as", "stranger").code == 3


class TestArguments:
    """From words to typed values."""

    @pytest.mark.parametrize(
        "words",
        [
            pytest.param(["code=012"], id="k=v"),
            pytest.param(['code:="012"'], id="k:=json"),
            pytest.param(["--code", "012"], id="--k v"),
            pytest.param(["--code=012"], id="--k=v"),
            pytest.param(["--json-args", '{"code": "012"}'], id="--json-args"),
            pytest.param(["--json-args", '{"code": 1}', "code=012"], id="override"),
            pytest.param(["--json-args", "@args.json"], id="--json-args @file"),
            pytest.param(["code@code.txt"], id="k@file"),
        ],
    )
    def test_a_string_stays_a_string(
        self, cli: Cli, policy: Path, words: list[str]
    ) -> None:
        """012 reaches the tool as it was typed, in every form."""
        Path("args.json").write_text('{"code": "012"}')
        Path("code.txt").write_text("012")

        assert cli("run", "cmd.code", *words).out == "012 none\n"

    def test_standard_input_gives_the_arguments(self, shell: Cli, policy: Path) -> None:
        """--json-args - reads the whole object."""
        ran = shell("run", "cmd.code", "--json-args", "-", stdin='{"code": "x"}')

        assert ran.out == "x none\n"

    def test_standard_input_is_read_once(self, shell: Cli, policy: Path) -> None:
        """A second reader would get nothing; it is told so."""
        ran = shell("run", "cmd.code", "code@-", "reason@-", stdin="x")

        assert ran.code == 2
        assert "standard input is read already" in ran.err

    def test_a_double_dash_may_stand_before_the_tool(self, cli: Cli) -> None:
        """What follows is the tool and its arguments."""
        assert cli("run", "--", "echo.say", "a=b").document == {"echoed": {"a": "b"}}

    def test_an_argument_like_an_option_is_a_fault_of_the_arguments(
        self, cli: Cli, policy: Path
    ) -> None:
        """The command did not run: exit 2, not 1, and what would be right."""
        ran = cli("run", "cmd.mark", "file=-rf")

        assert ran.code == 2
        assert "file: must not begin with -" in ran.err
        assert cli("audit", "query", "outcome=invalid_args", "--count").out == "1\n"

    def test_an_option_that_the_tool_has_too_is_the_tools(
        self, cli: Cli, policy: Path
    ) -> None:
        """After the tool --reason is cmd.code's; before it, it is run's."""
        ran = cli("run", "--reason", "ticket 7", "cmd.code", "code=a", "--reason", "b")

        assert ran.out == "a b\n"
        shown = cli("audit", "show", "@last", "-o", "json").document
        assert shown["reason"] == "ticket 7"

    def test_every_fault_at_once_then_the_signature(
        self, cli: Cli, policy: Path
    ) -> None:
        """Path, value and rule of each; near names; exit 2; recorded without values."""
        ran = cli("run", "fs.grep", "patern=x", "max_matches=many", "ignore_case=7")

        assert ran.code == 2
        assert 'ignore_case: must be boolean, got "7"' in ran.err
        assert 'max_matches: must be integer, got "many"' in ran.err
        assert 'patern: is not known, got "x"; did you mean pattern?' in ran.err
        assert "pattern: is required" in ran.err
        assert "signature: fs.grep(pattern: string," in ran.err
        assert cli("audit", "query", "outcome=invalid_args", "--count").out == "1\n"

    def test_malformed_json_has_line_and_column(self, cli: Cli) -> None:
        """The argument is named; nothing is recorded, nothing has run."""
        ran = cli("run", "echo.say", 'x:={"a":\n 1,}')

        assert ran.code == 2
        assert "line 2, column 4" in ran.err
        assert cli("audit", "query", "--count").out == "0\n"

    def test_faults_are_listed_in_json_mode(self, cli: Cli, policy: Path) -> None:
        """The error line carries the faults as data."""
        error = cli("run", "cmd.code", "-o", "json", "cod=1").error

        paths = [fault["path"] for fault in error["faults"]]
        assert (error["code"], paths) == ("invalid_args", ["cod", "code"])

    @pytest.mark.parametrize(
        "words",
        [
            pytest.param([], id="no tool"),
            pytest.param(["--wat", "echo.say"], id="unknown option"),
            pytest.param(["echo.say", "--as"], id="option without value"),
            pytest.param(["echo.say", "--as", ""], id="caller that is empty"),
            pytest.param(["echo.say", "--store="], id="store that is empty"),
            pytest.param(["echo.say", "--as", "a\udcff"], id="caller that is no text"),
            pytest.param(["echo.say", "-o", "xml"], id="unknown format"),
            pytest.param(["echo.say", "--timeout", "soon"], id="bad duration"),
            pytest.param(["echo.say", "--timeout", "0s"], id="no time at all"),
            pytest.param(["echo.say", "--timeout", "inf"], id="time without end"),
            pytest.param(["echo.say", "--timeout", "nan"], id="no number"),
            pytest.param(["echo.say", "--timeout=-5s"], id="time that has passed"),
            pytest.param(["echo.say", "--dry-run=yes"], id="switch with value"),
            pytest.param(["echo.say", "word"], id="word that is no argument"),
            pytest.param(["echo.say", "x@missing"], id="file that is not there"),
        ],
    )
    def test_a_wrong_command_line_is_a_usage_error(
        self, cli: Cli, words: list[str]
    ) -> None:
        """Exit 2, an error that says what, and no traceback."""
        ran = cli("run", *words)

        assert ran.code == 2
        assert ran.err.startswith("error: ")
        assert "Traceback" not in ran.err


class TestResults:
    """What goes to stdout and what to stderr."""

    def test_json_wraps_the_result(self, cli: Cli) -> None:
        """The document that docs/cli.md lists."""
        document = cli("run", "echo.say", "a=1", "-o", "json").document

        assert document.pop("call_id")
        assert document.pop("duration_ms") >= 0
        assert document == {
            "schema": "toolrt.run/1",
            "ok": True,
            "tool": "std:echo.say",
            "result": {"echoed": {"a": "1"}},
            "outcome": "success",
            "decision": "allow",
        }

    def test_global_options_work_before_and_after(self, cli: Cli) -> None:
        """-o json may stand anywhere."""
        before = cli("-o", "json", "run", "echo.say").document
        after = cli("run", "--json", "echo.say").document

        assert before["schema"] == after["schema"] == "toolrt.run/1"

    def test_rows_can_be_a_table(self, cli: Cli, policy: Path) -> None:
        """A list of objects has columns in the text formats."""
        Path("a.txt").write_text("x\nneedle\n")

        ran = cli("run", "fs.grep", "pattern=needle", "-o", "csv")

        assert ran.out.splitlines() == ["path,line,text", "a.txt,2,needle"]

    def test_a_failed_tool_is_exit_1_with_its_text_on_stderr(
        self, cli: Cli, policy: Path
    ) -> None:
        """The code is recorded, the tool's words are not."""
        ran = cli("run", "cmd.fail")

        assert (ran.code, ran.out) == (1, "")
        assert "NO_ROOM" in ran.err
        assert "no room" in ran.err
        shown = cli("audit", "show", "@last", "-o", "json")
        assert shown.document["code"] == "NO_ROOM"
        assert "no room" not in shown.out

    def test_a_failure_in_json_mode_is_a_document_and_a_line(
        self, cli: Cli, policy: Path
    ) -> None:
        """JSON never changes the exit code."""
        ran = cli("run", "cmd.fail", "-o", "json")

        assert ran.code == 1
        assert ran.document["ok"] is False
        assert ran.document["outcome"] == "execution_failed"
        assert ran.error["code"] == "tool_failed"
        assert ran.error["tool_code"] == "NO_ROOM"
        assert ran.error["text"] == "no room"
        assert ran.error["call_id"] == ran.document["call_id"]

    def test_an_unknown_tool_is_suggested_for(self, cli: Cli) -> None:
        """Exit 4, near names, and a record of the attempt."""
        ran = cli("run", "fs.raed", "path=x")

        assert ran.code == 4
        assert "unknown tool 'fs.raed'" in ran.err
        assert "did you mean fs.read" in ran.err
        assert cli("audit", "query", "outcome=tool_not_found", "--count").out == "1\n"
        shown = cli("run", "fs.raed", "path=x", "--json")
        assert shown.error["suggestions"][0] == "fs.read"

    def test_the_gate_denies_with_its_reason(self, cli: Cli, policy: Path) -> None:
        """Exit 3; the record is the gate event."""
        ran = cli("run", "sys.info", "--as", "ci-bot")

        assert ran.code == 3
        assert "the gate denied sys.info: not in CI" in ran.err
        assert f"rule {policy}:8" in ran.err
        source = cli("run", "sys.info", "--as", "ci-bot", "--json").error["source"]
        assert source == {"file": str(policy), "line": 8, "column": None}
        attempt = cli("audit", "query", "-o", "json").document["items"][0]
        assert (attempt["decision"], attempt["outcome"]) == ("deny", "denied")

    def test_an_unknown_tool_that_the_gate_denies_is_3(
        self, cli: Cli, policy: Path
    ) -> None:
        """Whether a tool exists is not told to those who are refused."""
        assert cli("run", "sys.wat", "--as", "ci-bot").code == 3

    def test_an_actor_that_may_not_use_a_name_is_denied(
        self, cli: Cli, policy: Path
    ) -> None:
        """callers.NAME.actors says who may call as NAME."""
        ran = cli("run", "fs.read", "path=x", "--as", "guarded")

        assert ran.code == 3
        assert "may not call as guarded" in ran.err
        assert f"rule {policy}:" in ran.err
        explained = cli("provenance", "explain", "guarded", "fs:read")
        assert "✓ actors: only " in explained.out
        assert "may call as guarded, line " in explained.out

    def test_a_tool_past_its_deadline_is_124(self, cli: Cli, policy: Path) -> None:
        """The record says TIMEOUT; --timeout shortens the deadline."""
        ran = cli("run", "cmd.sleep", "seconds=30", "--timeout", "200ms")

        assert ran.code == 124
        assert "deadline of 0.2 s" in ran.err
        item = cli("audit", "query", "-o", "json").document["items"][0]
        assert item["code"] == "TIMEOUT"

    def test_python_code_past_its_deadline_is_ended(
        self, cli: Cli, policy: Path
    ) -> None:
        """A regular expression that backtracks for ever is stopped at the deadline."""
        Path("redos.txt").write_text("a" * 40 + "c")

        ran = cli("run", "fs.grep", "pattern=(a+)+$", "path=.", "--timeout", "300ms")

        assert ran.code == 124
        assert "deadline of 0.3 s" in ran.err

    def test_why_explains_before_the_result(self, cli: Cli, policy: Path) -> None:
        """The gate's word and the rule of each capability, on stderr."""
        Path("x").write_text("text")

        ran = cli("run", "--why", "fs.read", "path=x")

        assert ran.out == "text"
        assert "gate: allow" in ran.err
        assert f"fs:read: allow-list {policy}:15:17" in ran.err

    def test_the_registry_is_built_once(
        self, cli: Cli, policy: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """To read the words by the tool's schema, or to explain, takes no other."""
        built = []
        build = RegistryBuilder.build

        def counted(builder: RegistryBuilder) -> Registry:
            built.append(builder)
            return build(builder)

        monkeypatch.setattr(RegistryBuilder, "build", counted)

        assert cli("run", "--why", "std:fs.glob", "pattern=*").code == 0
        assert len(built) == 1

    def test_why_is_in_the_document_in_json_mode(self, cli: Cli, policy: Path) -> None:
        """Standard error is for the error alone."""
        Path("x").write_text("x")
        allowed = cli("run", "--why", "fs.read", "path=x", "-o", "json")
        denied = cli("run", "--why", "sys.info", "--as", "ci-bot", "-o", "json")

        assert allowed.err == ""
        assert allowed.document["why"][0] == "gate: allow"
        assert f"{policy}:" in allowed.document["why"][1]
        assert denied.error["code"] == "permission_denied"
        assert denied.document["why"] == [f"gate: deny, by {policy}:8"]

    def test_a_broken_pack_is_no_line_in_json_mode(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """It is a remark for people; pack list has it as a row."""
        config('[runtime]\npacks = ["std", "no_such_module:pack"]\n')

        assert "is not loaded" in cli("run", "echo.say").err
        assert cli("run", "echo.say", "-o", "json").err == ""
        assert cli("run", "nosuch", "-o", "json").error["code"] == "tool_not_found"

    def test_a_dry_run_decides_like_the_call(self, cli: Cli, policy: Path) -> None:
        """Nothing runs; refusals are the same; the record says dry_run."""
        preview = cli("run", "-n", "cmd.mark", "file=marker")
        refused = cli("run", "-n", "cmd.mark", "file=marker", "--as", "ci-bot")

        assert json.loads(preview.out) == {
            "dry_run": True,
            "tool_id": "cmd:cmd.mark",
            "args_preview": {"file": "marker"},
        }
        assert refused.code == 3
        assert not Path("marker").exists()

    def test_a_destructive_tool_asks_and_is_refused_without_a_terminal(
        self, cli: Cli, policy: Path
    ) -> None:
        """Exit 3 and the flag that answers; --yes runs it."""
        refused = cli("run", "cmd.wipe")
        allowed = cli("run", "cmd.wipe", "--yes")

        assert refused.code == 3
        assert "has effect destructive: it asks first" in refused.err
        assert "--yes" in refused.err
        assert allowed.code == 0
        preview = cli("run", "cmd.wipe", "--dry-run")
        assert preview.code == 0
        outcomes = cli("audit", "query", "-o", "jsonl").out
        assert '"outcome":"denied"' in outcomes

    def test_help_of_run_and_of_a_tool(self, cli: Cli, policy: Path) -> None:
        """--help before the tool is run's, after it the tool's."""
        run_help = cli("run", "--help")
        tool_help = cli("run", "cmd.mark", "--help")

        assert "Usage: toolrt run [OPTIONS] TOOL" in run_help.out
        assert "Usage: toolrt run cmd.mark(file: string)" in tool_help.out
        assert "capabilities  cmd:run" in tool_help.out
        assert (run_help.code, tool_help.code) == (0, 0)


class TestRecord:
    """What the record says of who called."""

    def test_the_uid_and_an_asserted_caller_are_recorded(
        self, cli: Cli, policy: Path
    ) -> None:
        """A name that any actor may use is told from one that is bound to actors."""
        cli("run", "echo.say", "--as", "alice")
        asserted = cli("audit", "show", "@last", "-o", "json").document
        cli("run", "echo.say", "--as", asserted["actor"])
        own = cli("audit", "show", "@last", "-o", "json").document

        assert asserted["labels"] == {"uid": str(os.getuid()), "caller": "asserted"}
        assert own["labels"] == {"uid": str(os.getuid())}

    def test_nobody_may_use_a_name_without_actors(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """actors = [] lets nobody in."""
        config("[callers.shut]\nactors = []\n")

        assert cli("run", "echo.say", "--as", "shut").code == 3

    def test_a_gate_may_be_told_to_let_through_when_it_fails(
        self, cli: Cli, config: WriteConfig, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """on_error of the config reaches the pipeline."""
        (home / "failing.py").write_text(
            "class Gate:\n    def check(self, request):\n        raise OSError\n"
        )
        monkeypatch.syspath_prepend(home)
        gate = '[gate]\nkind = "python:failing:Gate"\n'

        config(gate)
        refused = cli("run", "echo.say")
        config(gate + 'on_error = "allow"\n')
        allowed = cli("run", "echo.say")

        assert (refused.code, allowed.code) == (3, 0)

    def test_a_sink_that_is_required_and_cannot_be_opened_stops_the_call(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """Fail closed: a record that must be kept and cannot be is exit 5."""
        config('[[sink]]\nkind = "jsonl"\npath = "no/x"\nrequired = true\n')

        assert cli("run", "echo.say").code == 5


class TestStoreFaults:
    """No record, no run."""

    def test_a_store_that_cannot_be_written_stops_the_tool(
        self, cli: Cli, policy: Path
    ) -> None:
        """Exit 6, and the marker file proves that nothing ran."""
        Path("file").write_text("")

        ran = cli("run", "cmd.mark", "file=marker", "--store", "file/audit.db")

        assert ran.code in (6, 7)
        assert not Path("marker").exists()
        assert "Traceback" not in ran.err

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_read_only_directory_is_6(self, cli: Cli, policy: Path) -> None:
        """Permissions are named, nothing runs."""
        Path("locked").mkdir(mode=0o500)

        ran = cli("run", "cmd.mark", "file=marker", "--store", "locked/audit.db")

        assert ran.code == 6
        assert not Path("marker").exists()

    def test_a_directory_at_the_stores_path_is_refused(
        self, cli: Cli, policy: Path
    ) -> None:
        """6 or 7, never 5, and never a traceback."""
        Path("audit.db").mkdir()

        ran = cli("run", "cmd.mark", "file=marker", "--store", "audit.db")

        assert ran.code in (6, 7)
        assert not Path("marker").exists()

    def test_a_text_file_at_the_stores_path_is_left_alone(
        self, cli: Cli, policy: Path
    ) -> None:
        """A file that is no store is never written."""
        Path("notes.txt").write_text("dear diary")

        ran = cli("run", "cmd.mark", "file=marker", "--store", "notes.txt")

        assert ran.code == 7
        assert Path("notes.txt").read_text() == "dear diary"
        assert not Path("marker").exists()

    def test_the_environment_names_the_store(
        self, cli: Cli, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """TOOLRT_STORE counts, --store wins."""
        monkeypatch.setenv("TOOLRT_STORE", "one.db")

        cli("run", "echo.say")
        cli("run", "echo.say", "--store", "two.db")

        assert Path("one.db").exists()
        assert Path("two.db").exists()

    def test_a_request_id_is_kept(
        self, cli: Cli, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """TOOLRT_REQUEST_ID joins the record to whoever asked."""
        monkeypatch.setenv("TOOLRT_REQUEST_ID", "job-42")

        cli("run", "echo.say")

        shown = cli("audit", "show", "@last", "-o", "json").document
        assert shown["events"][0]["session_id"] == "job-42"


def test_times_are_taken_from_the_clock(cli: Cli) -> None:
    """A record is of now, and its id sorts by time."""
    before = time.time_ns() // 1_000_000

    first = cli("run", "echo.say", "-o", "json").document["call_id"]
    second = cli("run", "echo.say", "-o", "json").document["call_id"]

    from toolrt.clock import ulid_number

    assert before <= (ulid_number(first) or 0) >> 80 <= time.time_ns() // 1_000_000
    assert first[:10] <= second[:10]


PAGES = """
from toolrt import CallContext, PaginatedResult, Pack

pack = Pack("pages")


@pack.handler("pages.read", paginates=True)
def read(ctx: CallContext) -> PaginatedResult:
    '''Read the numbers from 0 to 2.'''
    at = int(ctx.cursor.state) if ctx.cursor else 0
    return PaginatedResult([at], str(at + 1).encode() if at < 2 else None)
"""


def test_pages_go_on_in_another_process(
    cli: Cli, config: WriteConfig, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key of the cursors is a private file of the user; a wrong one is exit 2."""
    (home / "pages.py").write_text(PAGES)
    monkeypatch.syspath_prepend(home)
    config('[runtime]\npacks = ["pages:pack"]\n')

    assert cli("pack", "show", "pages.read").code == 0
    assert cli("run", "pages.read", "--help").code == 0
    assert list(home.rglob("cursor.key")) == []
    first = cli("run", "pages.read", "--json")
    (key,) = home.rglob("cursor.key")
    assert key.stat().st_mode & 0o777 == 0o600
    second = cli(
        "run", "pages.read", "--json", "--cursor", first.document["next_cursor"]
    )
    third = cli("run", "pages.read", "--cursor", second.document["next_cursor"])

    assert (first.document["result"], second.document["result"]) == ([0], [1])
    assert third.out == "[2]\n"
    wrong = cli("run", "pages.read", "--cursor", "wrong", "--json")
    assert (wrong.code, wrong.error["code"]) == (2, "cursor_invalid")


def test_the_config_hides_paths(cli: Cli, config: WriteConfig) -> None:
    """What a pattern matches is hidden in results; a wrong pattern has its place."""
    config('[middleware]\nredact_paths = ["/srv/[a-z]+"]\n')
    ran = cli("run", "echo.say", "text=in /srv/secret here", "--json")
    assert ran.document["result"] == {"echoed": {"text": "in <redacted> here"}}

    path = config('[middleware]\nredact_paths = ["ok", "("]\n')
    ran = cli("run", "echo.say")
    assert ran.code == 5
    assert f"{path.name}:2:23" in ran.err
