"""Every error of a store, and the record that waits in its spool."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from toolrt import AuditUnavailableError, RecordLostError, StoreError
from toolrt_cli.exit_codes import _BY_CODE, Exit, exit_code
from toolrt_store import adhoc, anchor, errors, keys
from toolrt_store.errors import RecordSpooledError, StoreLockedError

from .conftest import Cli

WriteConfig = Callable[[str], Path]


def leaves(kind: type[StoreError] = StoreError) -> Iterator[type[StoreError]]:
    """Return every class of error below *kind*."""
    for one in kind.__subclasses__():
        yield one
        yield from leaves(one)


@pytest.mark.parametrize("kind", sorted(set(leaves()), key=str))
def test_every_error_of_a_store_has_an_exit_code(kind: type[StoreError]) -> None:
    """None is left to a default that nobody chose."""
    assert kind.code in _BY_CODE


@pytest.mark.parametrize(
    ("error", "code"),
    [
        pytest.param(errors.StoreMissingError("p"), Exit.NOT_FOUND, id="missing"),
        pytest.param(errors.EventMissingError("p", "e"), Exit.NOT_FOUND, id="event"),
        pytest.param(errors.ForeignStoreError("p", "x"), Exit.INTEGRITY, id="foreign"),
        pytest.param(StoreLockedError("p", 1), Exit.STORE, id="locked"),
        pytest.param(errors.StoreTooNewError("p", 3, 2), Exit.STORE, id="newer"),
        pytest.param(adhoc.SelectError("p", "x"), Exit.USAGE, id="select"),
        pytest.param(anchor.AnchorError("p", "x"), Exit.STORE, id="anchor"),
        pytest.param(keys.SealKeyError("p", "x"), Exit.STORE, id="key"),
        pytest.param(keys.SealKeyMissingError("p"), Exit.STORE, id="no key"),
        pytest.param(RecordSpooledError("p", "x"), Exit.UNRECORDED, id="spooled"),
    ],
)
def test_what_an_error_of_a_store_ends_with(error: StoreError, code: Exit) -> None:
    """The code by which a script knows what to do next."""
    assert exit_code(error) == code


def test_a_dry_run_whose_record_waits_ran_nothing() -> None:
    """10 would say that a tool ran."""
    error = AuditUnavailableError("locked")
    error.__cause__ = RecordSpooledError("p", "locked")

    assert exit_code(error) == Exit.STORE


def test_a_lost_record_is_10() -> None:
    """The tool ran, whatever became of its record."""
    assert exit_code(RecordLostError("x")) == Exit.UNRECORDED


#: Its tool takes the writing lock of the store and keeps it as long as the process is.
HOLDER = '''
import fcntl, os
from toolrt import Pack

pack = Pack("holder")
held = []

@pack.handler("holder.take")
def take(path: str) -> str:
    """Hold the lock of the store at path."""
    held.append(os.open(path + ".lock", os.O_RDWR))
    fcntl.flock(held[0], fcntl.LOCK_EX)
    return "taken"
'''


def test_a_record_that_waits_in_the_spool_is_said_to(
    shell: Cli, config: WriteConfig, home: Path
) -> None:
    """The result is printed, exit 10, and the next call stores it."""
    config(
        '[runtime]\npacks = ["holder:pack", "std"]\n[store]\nlock_timeout = "100ms"\n'
    )
    Path("holder.py").write_text(HOLDER)
    env = {"PYTHONPATH": "."}
    path = shell("audit", "path", env=env).out.strip()
    shell("run", "echo.say", env=env)

    ran = shell("run", "holder.take", f"path={path}", env=env)
    told = shell("run", "holder.take", f"path={path}", "--json", env=env)
    shell("run", "echo.say", env=env)
    found = shell("audit", "query", "tool=holder.*", "-o", "jsonl", env=env)

    assert (ran.code, ran.out) == (10, "taken")
    assert "its record waits in the spool" in ran.err
    assert f"{path}.spool" in ran.err
    assert "the next call, or open for writing, stores it" in ran.err
    assert (told.code, told.error["code"]) == (10, "record_spooled")
    assert found.out.count('"outcome":"success"') == 2
