"""Answers to TAB that are remembered: the same as those found anew, or not given."""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from toolrt_cli import remembered
from toolrt_cli.remembered import recall

from .conftest import Cli

TOOLS = ["__complete", "tools"]
KINDS = (
    TOOLS,
    ["__complete", "callers"],
    ["__complete", "capabilities"],
    ["__complete", "arguments", "note.add"],
    ["--config", "named.toml", "__complete", "tools"],
)
NOTES = """\
[runtime]
packs = ["std", "notes"]
[callers.{caller}]
[pack.notes.handler."{verb}"]
command = ["echo", "{{title}}"]
capabilities = ["notes:{verb}"]
args.title = {{ type = "string" }}
"""
#: As good as each other in length, so that nothing but the time tells them apart.
CONFIGS = (
    NOTES.format(caller="ann", verb="note.add"),
    NOTES.format(caller="bob", verb="note.put"),
    "[broken",
    "[runtime]\npacks = []\n",
)
WORDS_OF_OTHERS = ["run", "echo.say", "__complete"]


class Desk:
    """A home and a work directory in it, and every way that an answer may change."""

    def __init__(self, home: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = home
        self.cli = cli
        self.monkeypatch = monkeypatch
        self.cache = home / "cache"
        self.found = home / "work" / "toolrt.toml"
        self.own = home / "config" / "toolrt" / "toolrt.toml"
        self.trusted = home / "state" / "toolrt" / "trusted.json"
        self.places = [self.found, self.own, home / "work" / "named.toml"]
        self._times = count(1_500_000_000)

    def touch(self, path: Path) -> None:
        """Give *path* a time that it never had, whatever the clock's ticks."""
        time = next(self._times)
        os.utime(path, (time, time))

    def write(self, path: Path, text: str) -> None:
        """Edit *path* in place."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o644)
        self.touch(path)

    def trust(self) -> None:
        """Trust the config that is found, if there is one."""
        self.cli("config", "trust")
        if self.trusted.exists():
            self.touch(self.trusted)

    def anew(self, words: list[str]) -> str:
        """Return the answer without the cache, which is as before afterwards."""
        aside = self.home / "aside"
        self.cache.mkdir(exist_ok=True)
        self.cache.rename(aside)
        answer = self.cli(*words).out
        shutil.rmtree(self.cache, ignore_errors=True)
        aside.rename(self.cache)
        return answer

    def file(self, kind: str = "tools") -> Path:
        """Return the file that remembers the names of *kind*."""
        return self.cache / "toolrt" / f"complete-{kind}"


@pytest.fixture
def desk(home: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk on which every file counts as settled."""
    (home / "work" / ".git").mkdir()
    (home / "work" / "deep").mkdir()
    monkeypatch.setattr(remembered, "_SETTLED_NS", -(10**18))
    return Desk(home, cli, monkeypatch)


def _edit(desk: Desk, dice: random.Random) -> None:
    desk.write(dice.choice(desk.places), dice.choice(CONFIGS))


def _edit_and_trust(desk: Desk, dice: random.Random) -> None:
    desk.write(desk.found, dice.choice(CONFIGS))
    desk.trust()


def _replace(desk: Desk, dice: random.Random) -> None:
    new = desk.home / "new.toml"
    desk.write(new, dice.choice(CONFIGS))
    desk.own.parent.mkdir(parents=True, exist_ok=True)
    new.replace(dice.choice(desk.places))


def _remove(desk: Desk, dice: random.Random) -> None:
    dice.choice(desk.places).unlink(missing_ok=True)


def _touch(desk: Desk, dice: random.Random) -> None:
    path = dice.choice(desk.places)
    if path.exists():
        desk.touch(path)


def _trust(desk: Desk, dice: random.Random) -> None:
    desk.trust()


def _distrust(desk: Desk, dice: random.Random) -> None:
    desk.trusted.unlink(missing_ok=True)


def _damage_trust(desk: Desk, dice: random.Random) -> None:
    if desk.trusted.exists():
        desk.trusted.chmod(dice.choice((0o600, 0o622)))


def _open_to_all(desk: Desk, dice: random.Random) -> None:
    path = dice.choice(desk.places)
    if path.exists():
        path.chmod(dice.choice((0o644, 0o666)))


def _link(desk: Desk, dice: random.Random) -> None:
    for name in ("one.toml", "two.toml"):
        desk.write(desk.home / name, dice.choice(CONFIGS))
    path = dice.choice(desk.places)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(desk.home / dice.choice(("one.toml", "two.toml", "none.toml")))


def _move(desk: Desk, dice: random.Random) -> None:
    desk.monkeypatch.chdir(desk.home / dice.choice((".", "work", "work/deep")))


def _repository(desk: Desk, dice: random.Random) -> None:
    root = desk.home / "work" / "deep" / ".git"
    if root.exists():
        root.rmdir()
    else:
        root.mkdir()


def _variable(desk: Desk, dice: random.Random) -> None:
    name = dice.choice(("TOOLRT_CALLER", "TOOLRT_CONFIG"))
    value = {"TOOLRT_CALLER": "eve", "TOOLRT_CONFIG": str(desk.own)}[name]
    if name in os.environ:
        desk.monkeypatch.delenv(name)
    else:
        desk.monkeypatch.setenv(name, value)


def _call(desk: Desk, dice: random.Random) -> None:
    desk.cli("run", "echo.say")


CHANGES = (
    *(_edit, _edit_and_trust, _replace, _remove, _touch, _trust, _distrust),
    *(_damage_trust, _open_to_all, _link, _move, _repository, _variable, _call),
)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_an_answer_is_the_same_with_the_cache_and_without(
    desk: Desk, seed: int
) -> None:
    """After any changes in any order; and the cache does answer in between."""
    dice = random.Random(seed)
    answers, hits = set(), 0
    for _ in range(60):
        change = dice.choice(CHANGES)
        change(desk, dice)
        for words in dice.sample(KINDS, 3):
            hits += recall(words) is not None
            given = desk.cli(*words).out
            assert given == desk.anew(words), (change.__name__, words)
            answers.add(given)

    assert hits > 10
    assert len(answers) > 4


def test_an_answer_is_given_again(desk: Desk) -> None:
    """Word for word, from a file that only its owner can read."""
    desk.write(desk.own, CONFIGS[0])
    assert recall(TOOLS) is None

    first = desk.cli(*TOOLS)

    assert "note.add\n" in first.out
    assert recall(TOOLS) == first.out
    assert desk.cli(*TOOLS) == first
    assert stat.S_IMODE(desk.file().stat().st_mode) == 0o600


def test_a_remembered_answer_is_what_is_printed(desk: Desk) -> None:
    """The cache is what answers: an answer that was changed in it is the proof."""
    desk.cli(*TOOLS)
    text = desk.file().read_text()
    desk.file().write_text(text.replace("echo.say\n", "echo.cry\n"))

    assert desk.cli(*TOOLS).out.startswith("echo.cry\n")


def test_names_outside_ascii_are_kept(desk: Desk) -> None:
    """Names and paths alike, even a path that is no UTF-8."""
    odd = desk.home / os.fsdecode(b"work/\xff\xc3\xb6")
    odd.mkdir()
    desk.monkeypatch.chdir(odd)
    desk.write(desk.own, '[callers."zo\u00eb"]\n')

    first = desk.cli("__complete", "callers").out

    assert first.startswith("zo\u00eb\n")
    assert recall(["__complete", "callers"]) == first


def _untrusted(desk: Desk) -> None:
    desk.trusted.unlink()


def _list_open_to_others(desk: Desk) -> None:
    desk.trusted.chmod(0o666)


def _edited(desk: Desk) -> None:
    times = desk.found.stat()
    # Until the clock of the file system has gone on: it ticks every few milliseconds.
    while desk.found.stat().st_ctime_ns == times.st_ctime_ns:
        desk.found.write_text(CONFIGS[0].replace("note.add", "note.eat"))
    # A time can be set back; that it was is a change of its own.
    os.utime(desk.found, ns=(times.st_atime_ns, times.st_mtime_ns))


def _config_open_to_all(desk: Desk) -> None:
    desk.found.chmod(0o666)


def _given_away(desk: Desk) -> None:
    os.chown(desk.found, 65534, 65534)


@pytest.mark.parametrize(
    "change",
    [_untrusted, _list_open_to_others, _edited, _config_open_to_all, _given_away],
)
def test_a_config_that_is_not_trusted_any_more_says_nothing(
    desk: Desk, change: Callable[[Desk], None]
) -> None:
    """What was remembered while it was trusted is not served either."""
    if change is _given_away and os.geteuid():
        pytest.skip("only root can give a file away")
    desk.write(desk.found, CONFIGS[0])
    desk.trust()
    assert "note.add\n" in desk.cli(*TOOLS).out
    assert recall(TOOLS) is not None

    change(desk)

    assert recall(TOOLS) is None
    assert desk.cli(*TOOLS).out == ""


def test_a_home_that_leads_elsewhere_ends_the_search_elsewhere(desk: Desk) -> None:
    """Up to which directory a config is looked for is part of the answer."""
    (desk.home / "work" / ".git").rmdir()
    desk.monkeypatch.chdir(desk.home / "work" / "deep")
    desk.write(desk.home / "toolrt.toml", CONFIGS[0])
    link = desk.home / "link"
    link.symlink_to(desk.home / "work")
    desk.monkeypatch.setenv("HOME", str(link))
    assert "echo.say\n" in desk.cli(*TOOLS).out
    assert recall(TOOLS) is not None

    link.unlink()
    link.symlink_to(desk.home / "config")

    assert recall(TOOLS) is None
    assert desk.cli(*TOOLS).out == ""


def test_a_config_that_is_not_the_users_own_any_more_needs_trust(desk: Desk) -> None:
    """Which file is the user's own is told by where the name of it leads."""
    desk.write(desk.own, CONFIGS[0])
    desk.monkeypatch.chdir(desk.own.parent)
    link = desk.home / "link"
    link.symlink_to(desk.home / "config")
    desk.monkeypatch.setenv("XDG_CONFIG_HOME", str(link))
    assert "note.add\n" in desk.cli(*TOOLS).out
    assert recall(TOOLS) is not None

    link.unlink()
    link.symlink_to(desk.home / "work")

    assert recall(TOOLS) is None
    assert desk.cli(*TOOLS).out == ""


def test_a_link_to_the_same_content_elsewhere_is_another_file(desk: Desk) -> None:
    """Trust goes by the real path, and one file can have two."""
    real = desk.home / "one" / "toolrt.toml"
    desk.write(real, CONFIGS[0])
    (desk.home / "two").mkdir()
    os.link(real, desk.home / "two" / "toolrt.toml")
    way = desk.home / "way"
    way.symlink_to(desk.home / "one")
    desk.found.symlink_to(way / "toolrt.toml")
    desk.trust()
    assert "note.add\n" in desk.cli(*TOOLS).out
    assert recall(TOOLS) is not None

    way.unlink()
    way.symlink_to(desk.home / "two")

    assert recall(TOOLS) is None
    assert desk.cli(*TOOLS).out == ""


def test_the_same_user_under_another_name_is_asked_again(desk: Desk) -> None:
    """The variables that decide are part of what was asked."""
    desk.cli("__complete", "callers")
    desk.monkeypatch.setenv("TOOLRT_CALLER", "eve")

    assert recall(["__complete", "callers"]) is None
    assert desk.cli("__complete", "callers").out == "eve\n"


def test_what_a_module_says_is_not_remembered(desk: Desk) -> None:
    """Nobody knows what a module looked at; nor which one a name will find."""
    for name in ("odd:pack", "nobody"):
        desk.write(desk.own, f'[runtime]\npacks = ["std", "{name}"]\n')

        assert "echo.say\n" in desk.cli(*TOOLS).out
        assert not desk.file().exists()


def test_a_young_file_is_not_remembered(cli: Cli, home: Path) -> None:
    """It may change again within the same tick of the clock, and nobody would see."""
    path = home / "config" / "toolrt" / "toolrt.toml"
    path.parent.mkdir(parents=True)
    path.write_text(CONFIGS[0])
    os.utime(path, (1, 1))  # which does not make it old

    assert "note.add\n" in cli(*TOOLS).out
    assert not (home / "cache").exists()
    path.unlink()
    cli(*TOOLS)
    assert recall(TOOLS) is not None


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["__complete"], id="no kind"),
        pytest.param(["__complete", "../tools"], id="a path"),
        pytest.param(["__complete", ""], id="empty"),
        pytest.param(["__complete", "wat"], id="unknown"),
        pytest.param(["__complete", "tools", "a\0b"], id="NUL"),
        pytest.param(["__complete", "tools\0b"], id="NUL in the kind"),
        pytest.param(WORDS_OF_OTHERS, id="the word of another command"),
    ],
)
def test_other_words_are_never_answered_from_the_cache(
    desk: Desk, words: list[str]
) -> None:
    """No other kind, no other command, no name of a file that is not one of ours."""
    desk.cli(*TOOLS)
    first = desk.cli(*words)

    assert first.code == desk.cli(*words).code
    assert "\0" in words[-1] or recall(words) is None


def _in_parts(data: bytes) -> Iterator[bytes]:
    yield from (data[:end] for end in range(0, len(data), 7))
    yield data[:-1]
    yield b"\0" * len(data)
    yield data + b"\0"
    yield data.replace(b"\0", b"\xff")
    yield b"\xff\xfe" + data


def test_a_damaged_cache_is_as_good_as_none(desk: Desk) -> None:
    """Cut off anywhere, zeros, bytes of something else: the answer is found anew."""
    expected = desk.cli(*TOOLS)
    data = desk.file().read_bytes()

    for damaged in _in_parts(data):
        desk.file().write_bytes(damaged)
        assert recall(TOOLS) is None
    assert desk.cli(*TOOLS) == expected
    assert desk.file().read_bytes() == data


def _linked(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to(file.with_name("elsewhere"))


def _writable(file: Path) -> None:
    file.chmod(0o602)


def _writable_by_group(file: Path) -> None:
    file.chmod(0o620)


def _foreign(file: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can give a file away")
    os.chown(file, 65534, 65534)


def _fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def _directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    "spoil", [_linked, _writable, _writable_by_group, _foreign, _fifo, _directory]
)
def test_a_cache_that_others_could_have_made_is_ignored(
    desk: Desk, spoil: Callable[[Path], None]
) -> None:
    """A link, a file of others or one they can write, or none at all: found anew."""
    expected = desk.cli(*TOOLS)
    spoil(desk.file())

    assert recall(TOOLS) is None
    assert desk.cli(*TOOLS) == expected


def test_a_cache_that_cannot_be_written_is_none(desk: Desk) -> None:
    """TAB says nothing about it and leaves nothing behind."""
    expected = desk.cli(*TOOLS)
    desk.file().unlink()
    desk.file().mkdir()

    assert desk.cli(*TOOLS) == expected
    assert [path.name for path in desk.file().parent.iterdir()] == ["complete-tools"]
    shutil.rmtree(desk.cache)
    desk.cache.touch()
    assert desk.cli(*TOOLS) == expected


def test_without_a_home_nothing_is_remembered(desk: Desk) -> None:
    """A relative path would mean another file in every directory."""
    desk.monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    desk.monkeypatch.setenv("HOME", "here")

    assert "echo.say\n" in desk.cli(*TOOLS).out
    assert recall(TOOLS) is None
    assert not (desk.home / "work" / "here").exists()


def test_a_directory_that_is_gone_is_no_place(desk: Desk) -> None:
    """What the working directory held cannot be told any more."""
    gone = desk.home / "gone"
    gone.mkdir()
    desk.monkeypatch.chdir(gone)
    desk.cli(*TOOLS)
    assert recall(TOOLS) is not None

    gone.rmdir()

    assert recall(TOOLS) is None
    assert desk.cli(*TOOLS).out == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "codes"),
    [
        pytest.param("exec {toolrt} >/dev/full", [1, 1], id="full disk"),
        pytest.param("{toolrt} | true; exit ${{PIPESTATUS[0]}}", [0, 0], id="pipe"),
        pytest.param("exec {toolrt} >&-", [0, 0], id="closed"),
    ],
)
def test_an_output_that_fails_ends_the_same_way(
    home: Path, script: str, codes: list[int]
) -> None:
    """With the cache and without, and never in a traceback."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    toolrt = f"{sys.executable} -m toolrt_cli __complete tools"
    command = [bash, "-c", script.format(toolrt=toolrt)]

    done = [
        subprocess.run(command, capture_output=True, text=True, check=False)
        for _ in codes
    ]

    assert (home / "cache" / "toolrt" / "complete-tools").exists()
    assert [one.returncode for one in done] == codes
    assert done[0].stderr == done[1].stderr
    assert "Traceback" not in done[0].stderr
