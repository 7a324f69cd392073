"""
Putting a backup in the place of a store.

A copy of the backup is made beside the place and verified; only that copy takes it, so
what was verified is what stands there afterwards. What stood there is renamed, never
removed, under the writing lock and only if nobody has it open.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, Literal

import msgspec

from toolrt_store import backup, database, errors, files, keys
from toolrt_store.checkpoint import SignedCheckpoint, parse_note, public_key
from toolrt_store.doctor import find_holders

#: What belongs to the rows of a store and goes with them when it is renamed. The log
#: comes after the database: alone under its name it is noticed, not played.
_LOGS: Final = ("-wal", "-shm", "-journal")
_DATA_SUFFIXES: Final = ("", *_LOGS, ".spool")

KeyState = Literal["fits", "none", "missing", "other"]


class Restored(msgspec.Struct, frozen=True):
    """
    What became of a restoring.

    ``kept_as`` is the new name of the store that stood there. ``key`` says whether the
    key file at the place ``fits`` the checkpoints, is ``missing`` or was an ``other``
    one, which was renamed with its store; ``none`` if there is no checkpoint to sign on
    from.
    """

    last_seq: int
    kept_as: str | None
    key: KeyState


@contextmanager
def staged(source: str, path: str, *, timeout_s: float) -> Iterator[tuple[str, int]]:
    """
    Give the path of a copy of the backup *source* beside *path*, and its last sequence.

    What `take_place` did not take is removed at the end.

    Raises:
        StoreError: *source* is no store that can be read, or it cannot be copied.
    """
    files.prepare_directory(path)
    copy = f"{path}.restoring"
    with suppress(OSError):
        files.discard_new(copy)  # of a process that was killed
    try:
        yield copy, backup.backup(source, copy, timeout_s=timeout_s)
    finally:
        with suppress(OSError):
            files.discard_new(copy)


def take_place(
    copy: str,
    path: str,
    checkpoints: list[SignedCheckpoint],
    *,
    last_seq: int,
    aside: str | None,
    group: str | None = None,
    lock_timeout_s: float,
) -> Restored:
    """
    Let the verified *copy*, which holds *checkpoints*, take the place *path*.

    Args:
        aside: The new name of the store that stands there; None to refuse if one does.

    Raises:
        StoreUnavailableError: A store stands there, is open, or cannot be renamed.
        ForeignStoreError: The log of a store that is gone stands there.
        StoreLockedError: Another process writes to it.
        StoreError: No store can be there.
    """
    lock = database.lock_for(path, group=group)
    try:
        with lock.hold(lock_timeout_s):
            is_there = files.is_there(path)
            _require_free(path, is_there=is_there, aside=aside)
            key = _key_state(path, checkpoints)
            try:
                if aside is not None:
                    _rename(path, aside, with_key=key == "other")
                _share(copy, path, group)
            except OSError as error:
                raise errors.from_os(path, error) from error
            files.finish_new(copy, path)
    finally:
        lock.close()
    return Restored(last_seq, aside if is_there else None, key)


def _require_free(path: str, *, is_there: bool, aside: str | None) -> None:
    if aside is None:
        if is_there:
            raise errors.StoreUnavailableError(path, "there is a store here already")
        for suffix in _LOGS:
            # SQLite would play a stray log into the copy.
            if os.path.lexists(path + suffix):
                problem = f"is missing, but its {suffix} file is left"
                raise errors.ForeignStoreError(path, problem)
        return
    if os.path.lexists(aside):
        raise errors.StoreUnavailableError(aside, "exists already")
    holders = find_holders(path)
    if holders:
        problem = f"it is open in {', '.join(map(str, holders))}"
        raise errors.StoreUnavailableError(path, problem)


def _key_state(path: str, checkpoints: list[SignedCheckpoint]) -> KeyState:
    if not checkpoints:
        return "none"
    try:
        seed = keys.read_key(keys.key_path(path))
    except keys.SealKeyMissingError:
        return "missing"
    except keys.SealKeyError:
        return "other"
    in_force = parse_note(checkpoints[-1].note).next_signer
    return "fits" if public_key(seed) == in_force else "other"


def _rename(path: str, aside: str, *, with_key: bool) -> None:
    suffixes = (*_DATA_SUFFIXES, ".key", ".key.new") if with_key else _DATA_SUFFIXES
    for suffix in suffixes:
        with suppress(FileNotFoundError):
            os.rename(path + suffix, aside + suffix)
    files.sync_directory(os.path.dirname(path))


def _share(copy: str, path: str, group: str | None) -> None:
    """Give *copy* to *group*, and remove the empty logs that reading it has left."""
    gid = files.group_id(group, path)
    if gid is not None:
        os.chown(copy, -1, gid)
        os.chmod(copy, 0o660)
    for suffix in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.unlink(copy + suffix)
