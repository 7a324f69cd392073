from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from toolrt.bindings.command import CommandSpec, bind_command, template_arguments
from toolrt.errors import InvalidArgsError, ToolError, ToolTimeoutError
from toolrt.secrets import BrokerError, RedactedString, SecretBundle

from .calls import context

ECHO_ARGV = "import json, sys; print(json.dumps(sys.argv[1:]))"


def spec(*command: str, **declared: Any) -> CommandSpec:
    return CommandSpec(command=command, **declared)


def call(spec: CommandSpec, /, **params: Any) -> Any:
    return bind_command(spec)(params, context())


def argv_of(*slots: str, allow_dash: tuple[str, ...] = (), **params: Any) -> Any:
    """Return the arguments that a real process gets for the template *slots*."""
    tool = spec(
        sys.executable, "-c", ECHO_ARGV.replace("{", "{{"), *slots,
        output="json", allow_dash=allow_dash,
    )  # fmt: skip
    return call(tool, **params)


def printing(text: str, output: str) -> CommandSpec:
    return spec(
        "printf", "%b", text.replace("{", "{{").replace("}", "}}"), output=output
    )


def code_of(spec: CommandSpec, /, **params: Any) -> str:
    with pytest.raises(ToolError) as caught:
        call(spec, **params)
    return caught.value.code


class TestTemplate:
    def test_names_come_once_and_in_order(self) -> None:
        """The placeholders of a template are listed as they first appear."""
        command = ("x", "{b}", "--a={a}:{b}", "{{c}}")

        assert template_arguments(command) == ("b", "a")

    @pytest.mark.parametrize("slot", ["{", "}", "a{b", "a}b", "{a{b}}", "{{{", "{}"])
    def test_unbalanced_or_empty_brace_is_refused(self, slot: str) -> None:
        """A brace without a partner or a name is an error of the template."""
        with pytest.raises(ValueError, match="brace"):
            template_arguments(("x", slot))

    @pytest.mark.parametrize(
        ("command", "match"),
        [
            pytest.param((), "needs an executable", id="empty"),
            pytest.param(("{tool}",), "fixed", id="argument"),
            pytest.param(("/bin/{tool}",), "fixed", id="partly an argument"),
            pytest.param(("",), "fixed", id="no name"),
            pytest.param(("true", "{x"), "unbalanced", id="bad slot"),
        ],
    )
    def test_bad_command_is_refused_when_it_is_bound(
        self, command: tuple[str, ...], match: str
    ) -> None:
        """What can never run is an error before any call."""
        with pytest.raises(ValueError, match=match):
            bind_command(CommandSpec(command=command))


class TestArguments:
    @pytest.mark.parametrize(
        ("slots", "params", "argv"),
        [
            (["{a}"], {"a": "x y"}, ["x y"]),
            (["--n={a}"], {"a": 3}, ["--n=3"]),
            (["{a}", "{b}", "{c}"], {"a": 1.5, "b": True, "c": False}, ["1.5", "true", "false"]),
            (["{a}", "z"], {}, ["z"]),
            (["{a}", "z"], {"a": None}, ["z"]),
            (["--a={a}", "z"], {}, ["z"]),
            (["{a}"], {"a": ["x", 2, None]}, ["x", "2"]),
            (["{a}"], {"a": []}, []),
            (["--a={a}"], {"a": [1, 2]}, ["--a=[1,2]"]),
            (["{a}"], {"a": {"k": 1}}, ['{"k":1}']),
            (["{{{a}}}"], {"a": "x"}, ["{x}"]),
            (["{a}"], {"a": ""}, [""]),
            (["{a}{b}"], {"a": "x", "b": "-y"}, ["x-y"]),
            ([""], {}, [""]),
        ],
    )  # fmt: skip
    def test_values_become_slots(
        self, slots: list[str], params: dict[str, Any], argv: list[str]
    ) -> None:
        """Each slot becomes one argument, none if a value is absent, more for a list."""
        assert argv_of(*slots, **params) == argv

    @pytest.mark.parametrize(
        "value",
        [
            "; touch /tmp/x", "$(id)", "`id`", "a b\tc", "line\nbreak", "*", "~root",
            "@/etc/passwd", "'\"\\", "{a}", "%s", "é\u202e", "x=y", "+x", "!!", "a" * 100_000,
        ],
    )  # fmt: skip
    def test_hostile_values_arrive_as_they_are(self, value: str) -> None:
        """No shell, no globbing, no splitting and no second expansion."""
        assert argv_of("{a}", a=value) == [value]

    @pytest.mark.parametrize(
        ("slots", "params", "blamed"),
        [
            (["{a}"], {"a": "-rf"}, "a"),
            (["{a}"], {"a": "--config=/tmp/evil"}, "a"),
            (["{a}"], {"a": "-oProxyCommand=id"}, "a"),
            (["{a}"], {"a": "-"}, "a"),
            (["{a}"], {"a": -5}, "a"),
            (["{a}"], {"a": ["x", "-y"]}, "a"),
            (["{a}.txt"], {"a": "-x"}, "a"),
            (["{a}{b}"], {"a": "", "b": "-x"}, "b"),
            (["{a}-x"], {"a": ""}, "a"),
        ],
    )
    def test_value_that_would_be_an_option_is_refused(
        self, slots: list[str], params: dict[str, Any], blamed: str
    ) -> None:
        """A slot that the template does not begin never begins with a dash."""
        with pytest.raises(InvalidArgsError, match="must not begin with -") as caught:
            argv_of(*slots, **params)

        assert [fault.path for fault in caught.value.faults] == [blamed]

    def test_dash_passes_where_it_is_allowed_or_the_template_writes_it(self) -> None:
        """`allow_dash` names an argument, and a value inside an option is no option."""
        argv = argv_of("{a}", "--b={b}", "-c{b}", a="-x", b="-y", allow_dash=("a",))

        assert argv == ["-x", "--b=-y", "-c-y"]

    def test_allowing_one_argument_allows_no_other(self) -> None:
        """The dash of an argument behind an empty allowed one is still refused."""
        with pytest.raises(InvalidArgsError, match="b: must not begin"):
            argv_of("{a}{b}", a="", b="-x", allow_dash=("a",))

    def test_text_that_no_command_line_holds_is_refused(self) -> None:
        """NUL and lone surrogates are refused before anything starts."""
        assert code_of(spec("true", "--x={a}"), a="\ud800") == "ENCODING"
        with pytest.raises(InvalidArgsError, match="a: must not hold a NUL"):
            code_of(spec("true", "--x={a}"), a="a\0b")

    def test_arguments_over_the_limit_of_the_system_are_refused(self) -> None:
        """A command line that is too long is an error with a name."""
        assert code_of(spec("true", "{a}"), a="x" * 8_000_000) == "ARGUMENTS_TOO_LARGE"


class TestExecutable:
    @staticmethod
    def tool(directory: Path, text: str, mode: int = 0o755) -> Path:
        directory.mkdir(exist_ok=True)
        path = directory / "some-tool"
        path.write_text(text)
        path.chmod(mode)
        return path

    def test_path_is_searched_in_order(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first executable file of that name runs; others are passed over."""
        self.tool(tmp_path / "a", "#!/bin/sh\necho a\n", mode=0o644)
        self.tool(tmp_path / "b", "#!/bin/sh\necho b\n")
        self.tool(tmp_path / "c", "#!/bin/sh\necho c\n")
        (tmp_path / "d" / "some-tool").mkdir(parents=True)
        path = ":".join(str(tmp_path / name) for name in "dabc")
        monkeypatch.setenv("PATH", path)

        assert call(spec("some-tool")) == "b\n"

    @pytest.mark.parametrize("path", ["", ".", ":/nowhere", "bin"])
    def test_working_directory_is_never_searched(
        self, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An empty or relative entry of the PATH plants no tool."""
        self.tool(tmp_path, "#!/bin/sh\necho planted\n")
        self.tool(tmp_path / "bin", "#!/bin/sh\necho planted\n")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PATH", path)

        assert code_of(spec("some-tool")) == "NO_SUCH_COMMAND"
        assert code_of(spec("./some-tool")) == "NO_SUCH_COMMAND"

    def test_executable_is_remembered_from_the_first_call(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A later PATH does not change which file runs."""
        self.tool(tmp_path / "a", "#!/bin/sh\necho a\n")
        self.tool(tmp_path / "b", "#!/bin/sh\necho b\n")
        run = bind_command(spec("some-tool"))
        monkeypatch.setenv("PATH", str(tmp_path / "a"))
        run({}, context())
        monkeypatch.setenv("PATH", str(tmp_path / "b"))

        assert run({}, context()) == "a\n"

    @pytest.mark.parametrize(
        ("text", "mode", "code"),
        [
            pytest.param("#!/bin/sh\n", 0o644, "NOT_EXECUTABLE", id="mode"),
            pytest.param("\x01\x02", 0o755, "NOT_EXECUTABLE", id="format"),
            pytest.param("#!/no/such\n", 0o755, "NO_SUCH_COMMAND", id="interpreter"),
        ],
    )
    def test_what_cannot_start_has_a_code(
        self, text: str, mode: int, code: str, tmp_path: Path
    ) -> None:
        """The system's reasons become codes."""
        assert code_of(spec(str(self.tool(tmp_path, text, mode)))) == code

    def test_missing_working_directory_is_not_blamed_on_the_command(
        self, tmp_path: Path
    ) -> None:
        """A `cwd` that is not there has a code of its own."""
        gone = spec("true", cwd=str(tmp_path / "gone"))

        assert code_of(gone) == "NO_SUCH_DIRECTORY"


class TestSurroundings:
    def test_environment_holds_the_listed_names_only(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing that changes how programs load or log in reaches a tool unnamed."""
        for name in (
            "LD_PRELOAD_X", "PYTHONPATH", "BASH_ENV", "GIT_DIR", "API_TOKEN", "HOME",
            "MINE", "TZ", "LANG", "LC_ALL",
        ):  # fmt: skip
            monkeypatch.setenv(name, "C")
        tool = spec("/usr/bin/env", output="lines", env=("MINE", "ABSENT"))

        names = {line.partition("=")[0] for line in call(tool)}

        assert names == {"PATH", "LANG", "LC_ALL", "TZ", "MINE"}

    def test_dangerous_name_passes_if_it_is_listed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The operator may let any variable through by its name."""
        monkeypatch.setenv("GIT_DIR", "/srv/repo")

        assert "GIT_DIR=/srv/repo\n" in call(spec("/usr/bin/env", env=("GIT_DIR",)))

    def test_argument_goes_to_stdin(self) -> None:
        """The text of the named argument is the input, NUL and dashes included."""
        tool = spec("cat", stdin="body")

        assert call(tool, body="-é\0") == "-é\0"
        assert call(tool, body={"a": 1}) == '{"a":1}'

    @pytest.mark.parametrize("params", [{}, {"body": None}])
    def test_absent_stdin_argument_is_an_empty_input(
        self, params: dict[str, Any]
    ) -> None:
        """A tool that reads an optional input sees its end."""
        assert call(spec("cat", stdin="body"), **params) == ""

    def test_command_runs_in_its_directory(self, tmp_path: Path) -> None:
        """`cwd` is where the command starts."""
        tool = spec("pwd", cwd=str(tmp_path.resolve()), output="lines")

        assert call(tool) == [str(tmp_path.resolve())]


class TestOutput:
    @pytest.mark.parametrize(
        ("printed", "output", "value"),
        [
            ("a\\nb\\n", "text", "a\nb\n"),
            ("", "text", ""),
            ("a\\r\\nb\\n\\nc", "lines", ["a", "b", "", "c"]),
            ("a\\fb\\n", "lines", ["a\fb"]),
            ("", "lines", []),
            ('{"a": [1, null]}\\n', "json", {"a": [1, None]}),
            ("null", "json", None),
            ('{"a":1}\\n\\n[2]\\n', "ndjson", [{"a": 1}, [2]]),
            ("", "ndjson", []),
        ],
    )
    def test_output_becomes_a_value(
        self, printed: str, output: str, value: object
    ) -> None:
        """Each form of output is read as it says."""
        assert call(printing(printed, output)) == value

    @pytest.mark.parametrize(
        ("printed", "output", "where"),
        [
            ('{"a": 1,\\n "é": x}', "json", "line 2, column 7"),
            ('{"a":', "json", "line 1, column 6"),
            ("", "json", "line 1, column 1"),
            ("1\\n2\\n[3\\n", "ndjson", "line 3, column 3"),
        ],
    )
    def test_bad_json_is_told_with_its_position(
        self, printed: str, output: str, where: str
    ) -> None:
        """Output that is no JSON names the line and column of the fault."""
        with pytest.raises(ToolError, match=f"BAD_OUTPUT: .* {where}$"):
            call(printing(printed, output))

    def test_json_nested_without_end_is_bad_output(self) -> None:
        """A tool cannot break the reader with depth."""
        deep = spec(
            "sh", "-c", "head -c 100000 /dev/zero | tr '\\0' '['", output="json"
        )

        assert code_of(deep) == "BAD_OUTPUT"

    @pytest.mark.parametrize("output", ["text", "lines", "json", "ndjson"])
    def test_output_that_is_not_utf8_is_refused(self, output: str) -> None:
        """Nothing is replaced in silence: the byte at fault is named."""
        with pytest.raises(ToolError, match=r"ENCODING: .* byte 2"):
            call(printing("ab\\0377", output))


class TestFailure:
    def test_status_becomes_a_code_and_stderr_the_message(self) -> None:
        """A failing command fails with its status and its own words."""
        with pytest.raises(ToolError) as caught:
            call(spec("sh", "-c", "echo out; echo why >&2; exit 3"))

        assert (caught.value.code, caught.value.message) == ("EXIT_3", "why")

    def test_message_is_cut_and_never_fails_to_decode(self) -> None:
        """4 KiB of stderr are told, with what is no UTF-8 replaced."""
        script = "printf '\\377' >&2; head -c 9000 /dev/zero | tr '\\0' x >&2; exit 1"

        with pytest.raises(ToolError) as caught:
            call(spec("sh", "-c", script))

        assert caught.value.message == "\ufffd" + "x" * 4095

    @pytest.mark.parametrize(
        ("status", "code"), [(1, "NO_MATCH"), (2, "EXIT_2"), (0, "EMPTY")]
    )
    def test_declared_codes_win(self, status: int, code: str) -> None:
        """`exit_codes` names a status; the others keep theirs."""
        tool = spec(
            "sh", "-c", f"exit {status}", exit_codes={"1": "NO_MATCH", "0": "EMPTY"}
        )

        assert code_of(tool) == code

    @pytest.mark.parametrize("code", ["OK", "ok", ""])
    def test_status_can_be_declared_a_success(self, code: str) -> None:
        """A command that says something by its status need not fail."""
        tool = spec("sh", "-c", "echo none; exit 1", exit_codes={"1": code})

        assert call(tool) == "none\n"

    @pytest.mark.parametrize(
        ("name", "code"), [("SEGV", "SIGNAL_SEGV"), ("KILL", "SIGNAL_KILL")]
    )
    def test_death_by_signal_is_named(self, name: str, code: str) -> None:
        """A command that a signal ended fails with the signal's name."""
        assert code_of(spec("sh", "-c", f"kill -{name} $$")) == code

    def test_deadline_is_a_timeout_of_the_call(self) -> None:
        """A command past the call's deadline fails as the call's timeout."""
        run = bind_command(spec("sleep", "100"))

        with pytest.raises(ToolTimeoutError, match=r"pack:verb .* 0.1 s"):
            run({}, context(timeout_s=0.1))

    def test_nothing_starts_after_the_deadline(self, tmp_path: Path) -> None:
        """A call without time left does not start its command."""
        run = bind_command(spec("touch", str(tmp_path / "ran")))

        with pytest.raises(ToolTimeoutError):
            run({}, context(timeout_s=0.0))

        assert not (tmp_path / "ran").exists()

    def test_too_much_output_is_an_error_and_never_cut(self) -> None:
        """Output over the limit of the call fails the call."""
        run = bind_command(spec("sh", "-c", "printf 123456"))

        with pytest.raises(ToolError, match=r"OUTPUT_LIMIT: .* 5 bytes"):
            run({}, context(max_output_bytes=5))


class TestSecrets:
    """Secrets reach the command as variables, or the command is not started."""

    def given(self, **secrets: str) -> SecretBundle:
        return SecretBundle({k: RedactedString(v) for k, v in secrets.items()})

    def run(self, secrets: SecretBundle | None, *names: str) -> Any:
        command = bind_command(
            spec("sh", "-c", 'printf "%s" "$A_B$C"', secrets=names or ("a_b", "c"))
        )
        return command({}, context(secrets=secrets))

    def test_each_is_a_variable_of_the_child_alone(self) -> None:
        """Of its name in upper case; this process keeps its own environment."""
        assert self.run(self.given(a_b="one ", c="two")) == "one two"
        assert "A_B" not in os.environ

    @pytest.mark.parametrize(
        ("value", "problem"),
        [
            pytest.param("x\0y", "secret 'c': holds a NUL character", id="NUL"),
            pytest.param("x\ud800", "secret 'c': is no Unicode text", id="surrogate"),
            pytest.param("", "secret 'c': the broker left it out", id="empty"),
        ],
    )
    def test_what_no_environment_can_hold_is_refused(
        self, value: str, problem: str
    ) -> None:
        """The error names the secret and carries nothing of it."""
        with pytest.raises(BrokerError) as caught:
            self.run(self.given(a_b="one", c=value))

        assert str(caught.value) == problem
        assert caught.value.__cause__ is None

    def test_a_secret_that_the_broker_left_out_is_refused(self) -> None:
        """Brokers of others may answer with less than was asked for."""
        with pytest.raises(BrokerError, match="'c': the broker left it out"):
            self.run(self.given(a_b="one"))

    def test_without_a_bundle_nothing_is_started(self) -> None:
        """The command could not tell that it was given nothing."""
        with pytest.raises(BrokerError, match="no broker is configured"):
            self.run(None)

    @pytest.mark.parametrize(
        ("secrets", "match"),
        [
            pytest.param(("lc-all",), "LC_ALL, which every command has", id="base"),
            pytest.param(("x.y",), "X_Y, which env lets through", id="env"),
            pytest.param(("a b", "a_b"), "A_B, as is secret 'a b'", id="each other"),
        ],
    )
    def test_a_variable_is_one_thing_only(
        self, secrets: tuple[str, ...], match: str
    ) -> None:
        """What would hide another variable is refused when it is bound."""
        with pytest.raises(ValueError, match=match):
            bind_command(spec("true", env=("X_Y",), secrets=secrets))


def test_spec_is_read_from_plain_data() -> None:
    """A table of the configuration converts to a `CommandSpec` as it is."""
    table = {"command": ["ls", "{a}"], "output": "lines", "exit_codes": {"1": "OK"}}

    read = msgspec.convert(table, CommandSpec)

    assert read == spec("ls", "{a}", output="lines", exit_codes={"1": "OK"})


def test_import_starts_none_of_what_only_a_call_needs() -> None:
    """The binding is imported at every start, so it imports little."""
    code = (
        "import sys, toolrt; before = set(sys.modules); import toolrt.bindings.command;"
        " print(*sorted(set(sys.modules) - before))"
    )
    found = subprocess.run(
        [sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True
    )

    assert set(found.stdout.split()) <= {"toolrt.bindings", "toolrt.bindings.command"}
