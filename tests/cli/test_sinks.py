"""``[[sink]]``: copies of the record of a call, and what their loss means."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolrt import Block, Drop
from toolrt_cli import sinks
from toolrt_cli.config import open_config
from toolrt_cli.exit_codes import Exit

from .conftest import Cli

WriteConfig = Callable[[str], Path]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class TestDelivery:
    """What goes where."""

    def test_every_file_gets_the_record_of_a_call(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """Relative paths are relative to the config; the file is the user's alone."""
        path = config(
            '[[sink]]\nkind = "jsonl"\npath = "a.jsonl"\n'
            '[[sink]]\nkind = "jsonl"\npath = "b.jsonl"\nrequired = true\n'
        )
        ran = cli("run", "echo.say", "x=1", "-o", "json")

        first, second = (lines(path.parent / name) for name in ("a.jsonl", "b.jsonl"))
        assert [one["call_id"] for one in first] == [ran.document["call_id"]]
        assert first == second
        assert stat.S_IMODE((path.parent / "a.jsonl").stat().st_mode) == 0o600
        assert (ran.code, ran.err) == (0, "")

    def test_the_standard_streams_get_it_beside_the_result(
        self, shell: Cli, config: WriteConfig
    ) -> None:
        """Also while a tool runs, when standard output is standard error."""
        config('[[sink]]\nkind = "stdout"\n[[sink]]\nkind = "stderr"\n')
        ran = shell("run", "echo.say", "x=1")

        record, result = map(json.loads, ran.out.splitlines())
        assert record["tool_id"] == "std:echo.say"
        assert result == {"echoed": {"x": "1"}}
        assert json.loads(ran.err) == record

    def test_a_file_is_rotated(self, cli: Cli, config: WriteConfig) -> None:
        """A new call begins a new file once the old one is full."""
        path = config('[[sink]]\nkind = "jsonl"\npath = "a.jsonl"\nrotate_bytes = 1\n')
        cli("run", "echo.say")
        cli("run", "echo.say")

        assert len(lines(path.parent / "a.jsonl")) == 1
        assert len(lines(path.parent / "a.jsonl.1")) == 1

    def test_a_fallback_gets_only_what_the_other_cannot_take(
        self, config: WriteConfig, cli: Cli, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whether it is a sink with a table or a file that nothing else names."""
        head = '[[sink]]\nkind = "jsonl"\nbackpressure = "fallback"\n'
        path = config(
            head
            + 'path = "a"\nfallback = "./b"\n'
            + head
            + 'path = "b"\nfallback = "c"\n'
        )
        cli("run", "echo.say")
        assert [len(lines(path.parent / name)) for name in "abc"] == [1, 0, 0]

        def refuse(thread: threading.Thread) -> None:
            if thread.name.endswith((" a", " b")):
                raise RuntimeError("no more threads")
            start(thread)

        start = threading.Thread.start
        monkeypatch.setattr(threading.Thread, "start", refuse)
        assert cli("run", "echo.say").code == 0
        assert [len(lines(path.parent / name)) for name in "abc"] == [1, 0, 1]

    def test_the_strategy_follows_the_table(self, config: WriteConfig) -> None:
        """A required sink blocks unless it says otherwise, any other drops."""
        path = config(
            '[[sink]]\nkind = "stdout"\ntimeout = "3s"\nrequired = true\n'
            '[[sink]]\nkind = "stderr"\ncapacity = 2\n'
            '[[sink]]\nkind = "jsonl"\npath = "a"\nbackpressure = "block"\n'
        )
        loaded = open_config(flag=str(path), environ={}, cwd=str(path.parent))
        with sinks.Sinks(loaded, str(path.parent)) as opened:
            found = [one.backpressure for one in opened.direct]
            assert opened.direct[1].capacity == 2

        assert found == [Block(3), Drop(), Block(10)]

    def test_other_commands_open_no_sink(self, cli: Cli, config: WriteConfig) -> None:
        """To list or to check makes no file."""
        path = config('[[sink]]\nkind = "jsonl"\npath = "a.jsonl"\n')
        for words in (["pack", "list"], ["config", "validate"], ["run", "--help"]):
            assert cli(*words).code == 0

        assert not (path.parent / "a.jsonl").exists()


class TestLoss:
    """A sink that cannot keep a record."""

    def test_a_loss_is_said_and_the_call_stands(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """The store has the record: a copy that is lost does not fail the call."""
        config('[[sink]]\nkind = "jsonl"\npath = "/dev/full"\n')
        ran = cli("run", "echo.say")

        assert (ran.code, ran.out) == (0, '{"echoed":{}}\n')
        assert ran.err == (
            "sink /dev/full: 1 of 1 records not written:"
            " [Errno 28] No space left on device\n"
        )

    @pytest.mark.parametrize(
        "more", ["", 'backpressure = "fallback"\nfallback = "b"\n']
    )
    def test_a_required_sink_that_loses_the_record_fails_the_call(
        self, cli: Cli, config: WriteConfig, more: str
    ) -> None:
        """Exit 10: the tool ran, its result is printed, the loss is the error."""
        config(f'[[sink]]\nkind = "jsonl"\npath = "/dev/full"\nrequired = true\n{more}')
        ran = cli("run", "echo.say", "-o", "json")

        assert ran.code == Exit.UNRECORDED
        assert (ran.document["ok"], ran.document["result"]) == (False, {"echoed": {}})
        error = ran.error
        assert error["code"] == "record_lost"
        assert error["call_id"] == ran.document["call_id"]
        assert "sink /dev/full: 1 of 1 records not written" in error["message"]
        assert "the store has the record" in cli("run", "echo.say").err

    def test_a_refusal_stays_one(self, cli: Cli, config: WriteConfig) -> None:
        """That its record was lost is a note on it."""
        config('[[sink]]\nkind = "jsonl"\npath = "/dev/full"\nrequired = true\n')
        refused = cli("run", "fs.read", "path=x")

        assert refused.code == Exit.DENIED
        assert "the record of its end cannot be written: sink /dev/full" in refused.err

    def test_a_dry_run_that_leaves_no_record_has_run_nothing(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """Exit 6, as where the store cannot be written."""
        config('[[sink]]\nkind = "jsonl"\npath = "/dev/full"\nrequired = true\n')

        assert cli("run", "echo.say", "-n").code == Exit.STORE

    def test_a_denied_call_has_no_record_to_lose(
        self, cli: Cli, config: WriteConfig
    ) -> None:
        """The gate event is its record, and that is the store's."""
        config(
            '[gate]\nkind = "rules"\ndefault = "deny"\n'
            '[[sink]]\nkind = "jsonl"\npath = "/dev/full"\nrequired = true\n'
        )
        denied = cli("run", "echo.say")

        assert denied.code == Exit.DENIED
        assert "/dev/full" not in denied.err

    def test_a_reader_that_does_not_read_keeps_nobody_for_long(
        self, cli: Cli, config: WriteConfig, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The wait for all sinks together is bounded, and what is lost is said."""
        monkeypatch.setattr(sinks, "CLOSE_S", 0.05)
        os.mkfifo(home / "fifo")
        reader = os.open(home / "fifo", os.O_RDONLY | os.O_NONBLOCK)
        writer = os.open(home / "fifo", os.O_WRONLY | os.O_NONBLOCK)
        while True:
            try:
                os.write(writer, b"x" * 1024)
            except BlockingIOError:
                break
        config(f'[[sink]]\nkind = "jsonl"\npath = "{home}/fifo"\n')
        ran = cli("run", "echo.say")
        os.close(reader)
        os.close(writer)

        assert ran.code == 0
        assert f"sink {home}/fifo: 1 of 1 records not written" in ran.err


class TestOpening:
    """A sink that cannot be opened: a fault of the config, and nothing runs."""

    @pytest.mark.parametrize("words", [["run", "echo.say"], ["config", "validate"]])
    def test_all_are_named_with_their_places(
        self, cli: Cli, config: WriteConfig, words: list[str]
    ) -> None:
        """Exit 5, each with line and column; a fallback as well."""
        path = config(
            '[[sink]]\nkind = "jsonl"\npath = "no/a.jsonl"\n'
            '[[sink]]\nkind = "jsonl"\npath = "good"\nbackpressure = "fallback"\n'
            'fallback = "."\n'
        )
        ran = cli(*words, "--json")

        faults = ran.error["faults"]
        assert ran.code == Exit.CONFIG
        assert [(one["line"], one["column"]) for one in faults] == [(3, 1), (8, 1)]
        assert faults[0]["file"] == str(path)
        assert all("cannot be opened: " in one["message"] for one in faults)
        assert "directory" in faults[1]["message"]

    def test_nothing_runs(self, cli: Cli, config: WriteConfig, home: Path) -> None:
        """Neither the tool nor a record of it."""
        config('[[sink]]\nkind = "jsonl"\npath = "/dev/null/x"\n')

        assert cli("run", "echo.say").code == Exit.CONFIG
        assert not (home / "state" / "toolrt" / "audit.db").exists()
