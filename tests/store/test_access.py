"""Who may own, read and write the files of a store, and on which disks they may be."""

from __future__ import annotations

import grp
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from toolrt_store import (
    ForeignStoreError,
    SqliteEventStore,
    StoreUnavailableError,
    database,
    files,
)
from toolrt_store.liveness import Liveness

from .samples import finish, gate_event, start_python

OWN_GROUP = os.getegid()
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def status(*, mode: int = 0o600, uid: int = 1000, gid: int = 1000) -> os.stat_result:
    """Return what lstat tells of a regular file."""
    return os.stat_result((stat.S_IFREG | mode, 1, 1, 1, uid, gid, 10, 0, 0, 0))


def own_group() -> str:
    """Return the name of the group that this process runs under."""
    try:
        return grp.getgrgid(OWN_GROUP).gr_name
    except KeyError:
        pytest.skip("the group of this process has no name")


@pytest.mark.parametrize("suffix", [*files.SECRET_SUFFIXES])
@pytest.mark.parametrize(
    ("mode", "who"),
    [(0o640, "its group"), (0o620, "its group"), (0o604, "others"), (0o666, "others")],
)
def test_file_open_to_others_is_refused_with_the_cure(
    tmp_path: Path, suffix: str, mode: int, who: str
) -> None:
    """A store that others may read or write is opened only once that is mended."""
    db_path = tmp_path / "an audit.db"
    SqliteEventStore.open(db_path).close()
    path = Path(f"{db_path}{suffix}")
    path.touch()
    path.chmod(mode)

    with pytest.raises(StoreUnavailableError) as info:
        SqliteEventStore.open(db_path)

    problem = f"open to {who} (mode {mode:04o}): chmod 600 '{path}'"
    assert info.value.problem == problem


def test_lock_that_others_may_read_holds_no_data(tmp_path: Path) -> None:
    """The files without stored data do not keep a store from opening."""
    db_path = tmp_path / "audit.db"
    SqliteEventStore.open(db_path).close()
    for suffix in (".lock", ".live"):
        Path(f"{db_path}{suffix}").touch()
        Path(f"{db_path}{suffix}").chmod(0o644)

    SqliteEventStore.open(db_path).close()


def test_what_is_open_to_others_can_still_be_read(tmp_path: Path) -> None:
    """Looking at such a store makes it no worse."""
    db_path = tmp_path / "audit.db"
    SqliteEventStore.open(db_path).close()
    db_path.chmod(0o644)

    SqliteEventStore.open(db_path, read_only=True).close()


@needs_root
@pytest.mark.parametrize("suffix", [*files.SUFFIXES])
def test_file_of_another_user_is_refused(tmp_path: Path, suffix: str) -> None:
    """What another user made beside the database, or as it, is not ours."""
    db_path = tmp_path / "audit.db"
    SqliteEventStore.open(db_path).close()
    path = Path(f"{db_path}{suffix}")
    path.touch()
    path.chmod(0o600)
    os.chown(path, 12345, -1)

    with pytest.raises(ForeignStoreError, match="belongs to the user 12345, not to 0"):
        SqliteEventStore.open(db_path)

    os.chown(path, 0, -1)
    files.require_private(str(db_path))


@pytest.mark.parametrize(
    ("found", "gid", "refused"),
    [
        pytest.param(status(uid=1000), None, False, id="ours"),
        pytest.param(status(uid=0), None, False, id="root's"),
        pytest.param(status(uid=1001), None, True, id="another user's"),
        pytest.param(status(uid=1001, gid=50), 50, False, id="a member's"),
        pytest.param(status(uid=1001, gid=51), 50, True, id="of another group"),
    ],
)
def test_who_may_own_a_file(
    found: os.stat_result, gid: int | None, *, refused: bool
) -> None:
    """We, root, and with a group anybody in it."""
    problem = files.owner_problem(found, euid=1000, gid=gid)

    assert (problem is not None) is refused


@pytest.mark.parametrize(
    ("found", "gid", "problem"),
    [
        pytest.param(status(mode=0o600), None, None, id="private"),
        pytest.param(status(mode=0o400), None, None, id="read-only"),
        pytest.param(status(mode=0o660, gid=50), 50, None, id="shared"),
        pytest.param(status(mode=0o600, gid=51), 50, None, id="not shared yet"),
        pytest.param(
            status(mode=0o660, gid=51),
            50,
            "open to its group (mode 0660): chmod 600 x",
            id="shared with another group",
        ),
        pytest.param(
            status(mode=0o664, gid=50),
            50,
            "open to others (mode 0664): chmod 660 x",
            id="shared with everyone",
        ),
    ],
)
def test_to_whom_a_file_may_be_open(
    found: os.stat_result, gid: int | None, problem: str | None
) -> None:
    """To its owner, and with a group to that group alone."""
    assert files.mode_problem(found, "x", gid=gid) == problem


@pytest.mark.parametrize("mask", [0, 0o022, 0o077])
def test_group_shares_what_is_made(tmp_path: Path, mask: int) -> None:
    """With a group directories are 2770 and files 0660, whatever the umask."""
    path = str(tmp_path / "a" / "b" / "audit.db")
    group = own_group()

    previous = os.umask(mask)
    try:
        lock = database.lock_for(path, group=group)
        database.open_writer(path, durability="full", now_us=0, group=group).close()
        liveness = Liveness(path, group=group)
        liveness.hold(1)
    finally:
        os.umask(previous)

    made = {entry.name: entry.lstat() for entry in (tmp_path / "a" / "b").iterdir()}
    assert {name: stat.S_IMODE(found.st_mode) for name, found in made.items()} == (
        dict.fromkeys({"audit.db", "audit.db.lock", "audit.db.live"}, 0o660)
    )
    assert {found.st_gid for found in made.values()} == {OWN_GROUP}
    for directory in (tmp_path / "a", tmp_path / "a" / "b"):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o2770
    files.require_private(path, group=group)
    with pytest.raises(StoreUnavailableError, match="chmod 600"):
        files.require_private(path)
    lock.close()
    liveness.close()


@needs_root
def test_group_of_an_existing_directory_does_not_decide(tmp_path: Path) -> None:
    """Where the directory hands no group down, files are given to it all the same."""
    gid = next((one.gr_gid for one in grp.getgrall() if one.gr_gid != OWN_GROUP), None)
    if gid is None:
        pytest.skip("there is only one group")
    group = grp.getgrgid(gid).gr_name

    path = str(tmp_path / "audit.db")
    database.lock_for(path, group=group).close()
    database.open_writer(path, durability="full", now_us=0, group=group).close()

    assert {entry.lstat().st_gid for entry in tmp_path.iterdir()} == {gid}


SHARED = """
import grp, os, sys
from toolrt_store import SqliteEventStore, StoreUnavailableError, database
from toolrt_store.spool import Spool

# Other users may not be able to read this Python: all of it is imported here.
SqliteEventStore.open(os.path.join(sys.argv[1], "../../../first.db")).close()
path, gid = sys.argv[1], int(sys.argv[2])
group = grp.getgrgid(gid).gr_name

def use():
    try:
        lock = database.lock_for(path, group=group)
        with lock.hold(5):
            store = database.open_writer(path, durability="full", now_us=1, group=group)
            store.execute("ANALYZE")  # A write that needs no table of the schema.
    except StoreUnavailableError as error:
        print(error.problem)
        return
    spool = Spool(path, group=group)
    spool.prepare()
    spool.put(b"record")
    entries = os.scandir(os.path.dirname(path))
    wide = [entry.stat().st_mode & 0o777 != 0o660 for entry in entries]
    print(os.getuid(), len(spool.records()), len(wide), sum(wide))

for uid, member, umask in (71001, True, 0o077), (71002, True, 0o022), (71003, False, 0):
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setgid(gid if member else uid)
        os.setuid(uid)
        os.umask(umask)
        use()
        sys.stdout.flush()
        os._exit(0)  # Without closing: log and index stay for the next.
    os.waitpid(pid, 0)
"""


@needs_root
@pytest.mark.slow
def test_members_of_the_group_write_to_one_store() -> None:
    """Two users share every file, also those that the first left; a third may not."""
    group = next((one for one in grp.getgrall() if one.gr_gid != 0), None)
    if group is None:
        pytest.skip("there is no group but root's")
    # Not below tmp_path: other users may not go there.
    with tempfile.TemporaryDirectory() as parent:
        os.chmod(parent, 0o711)
        os.mkdir(f"{parent}/of-the-group")
        os.chmod(f"{parent}/of-the-group", 0o755)  # whatever the umask
        os.chown(f"{parent}/of-the-group", 71001, group.gr_gid)
        path = f"{parent}/of-the-group/state/audit.db"

        (said,) = finish([start_python(SHARED, path, group.gr_gid)])

    # Database, log, index, lock and spool, none of them wider or narrower than 0660.
    assert said.splitlines() == [
        "71001 1 5 0",
        "71002 2 5 0",
        f"this user is not in the group {group.gr_name!r} that shares it",
    ]


@pytest.mark.parametrize("group", ["no such group", "a\0b", ""])
def test_unknown_group_is_refused(tmp_path: Path, group: str) -> None:
    """A group that does not exist is named, and nothing is made."""
    with pytest.raises(StoreUnavailableError, match="there is no group") as info:
        database.lock_for(str(tmp_path / "a" / "audit.db"), group=group)

    assert repr(group) in str(info.value)
    assert list(tmp_path.iterdir()) == []


def test_group_without_us_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only root may share with a group that it is not in."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: OWN_GROUP + 1)
    monkeypatch.setattr(os, "getgroups", list)

    with pytest.raises(StoreUnavailableError, match="not in the group"):
        files.group_id(own_group(), "/x/audit.db")

    monkeypatch.setattr(os, "getgroups", lambda: [OWN_GROUP])
    assert files.group_id(own_group(), "/x/audit.db") == OWN_GROUP


def test_file_that_appears_meanwhile_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two processes that make a file beside the database, both have the one file."""
    path = tmp_path / "audit.db.lock"
    real = os.open

    def slow(name: str, flags: int, *rest: int) -> int:
        if flags & os.O_EXCL:
            path.touch()
        return real(name, flags, *rest)

    monkeypatch.setattr(os, "open", slow)
    fd = files.open_beside(str(path), os.O_RDWR | os.O_CREAT)
    monkeypatch.undo()

    assert os.fstat(fd).st_ino == path.stat().st_ino
    os.close(fd)


MOUNTS = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
40 27 0:40 / /home rw,relatime shared:7 master:2 - nfs4 server:/export/home rw,vers=4.2
41 40 254:1 / /home/ann/local rw - xfs /dev/vdb rw
42 27 0:41 / /mnt/a\040b\134c rw - cifs //server/share rw
43 27 0:42 / /media/usb rw - fuseblk /dev/sdb1 rw
44 27 0:43 / /srv/data rw - ext4 /dev/vdc rw
45 44 0:44 / /srv/data rw - fuse.sshfs user@host: rw
46 27 0:45 / /mnt/9p rw - 9p share rw,trans=virtio
a line of some later kernel
47 27 0:46 / - odd
"""


@pytest.mark.parametrize(
    ("directory", "kind", "network"),
    [
        ("/", "ext4", False),
        ("/var/lib", "ext4", False),
        ("/home", "nfs4", True),
        ("/home/bob/state", "nfs4", True),
        ("/homework", "ext4", False),
        ("/home/ann/local/state", "xfs", False),
        ("/mnt/a b\\c/d", "cifs", True),
        ("/media/usb", "fuseblk", False),
        ("/srv/data", "fuse.sshfs", True),
        ("/mnt/9p/x", "9p", True),
    ],
)
def test_file_system_of_a_directory(directory: str, kind: str, network: bool) -> None:
    """The longest mount point above it counts, and of two at one point the later."""
    assert files.file_system(MOUNTS, directory) == kind
    assert files.is_network(kind) is network


def test_no_mount_is_no_file_system() -> None:
    """A text that names no mount above the directory tells nothing."""
    assert files.file_system("", "/home") is None


@pytest.mark.parametrize(
    ("kind", "network"),
    [
        *(("smb3", True), ("fuse", True), ("fuse.glusterfs", True), ("lustre", True)),
        *(("tmpfs", False), ("overlay", False), ("btrfs", False), ("fusectl", False)),
    ],
)
def test_kinds_of_file_systems(kind: str, network: bool) -> None:
    """What other hosts may write to is told from what only this one can."""
    assert files.is_network(kind) is network


def test_store_on_a_network_file_system_is_refused(tmp_path: Path) -> None:
    """It is refused before its directory is made, and told what to do instead."""
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(MOUNTS.replace("/home ", f"{os.path.realpath(tmp_path)} "))
    db_path = str(tmp_path / "state" / "audit.db")

    with pytest.raises(StoreUnavailableError) as info:
        files.require_local(db_path, mountinfo=str(mountinfo))

    assert info.value.problem == (
        "on the network file system nfs4; --store names one on a local disk"
    )
    assert not os.path.exists(os.path.dirname(db_path))


def test_opening_a_store_asks_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is made on a disk of another host."""
    monkeypatch.setattr(files, "read_text", lambda path: MOUNTS)
    monkeypatch.setattr(files, "file_system", lambda text, directory: "nfs")

    with pytest.raises(StoreUnavailableError, match="network file system nfs"):
        SqliteEventStore.open(tmp_path / "state" / "audit.db")

    assert list(tmp_path.iterdir()) == []


def test_store_where_mounts_are_not_told_is_let_through(tmp_path: Path) -> None:
    """A system without mountinfo is not locked out."""
    files.require_local(str(tmp_path / "a" / "x.db"), mountinfo=str(tmp_path / "none"))


@pytest.mark.skipif(
    not os.path.exists("/proc/self/mountinfo"), reason="mountinfo is Linux's"
)
def test_real_mounts_are_understood(tmp_path: Path) -> None:
    """The file systems of this machine have names, and /proc its own."""
    text = Path("/proc/self/mountinfo").read_text()

    assert files.file_system(text, "/proc") == "proc"
    assert files.file_system(text, os.path.realpath(tmp_path)) is not None
    # Only a directory without a block device below it is looked up.
    files.require_local("/dev/shm/audit.db")


def test_free_space_is_held_against_the_reserve(tmp_path: Path) -> None:
    """A disk with less than the reserve takes no new event."""
    free = files.free_bytes(str(tmp_path))
    files.require_space(str(tmp_path), 0)

    with pytest.raises(StoreUnavailableError, match=r"B free on its disk, less than"):
        files.require_space(str(tmp_path), free * 2 + (1 << 40))


def test_space_of_what_is_missing_is_unavailable(tmp_path: Path) -> None:
    """A disk that cannot be asked is an error of the store."""
    with pytest.raises(StoreUnavailableError, match="no such file"):
        files.free_bytes(str(tmp_path / "nothing"))


def unlistable(path: Path) -> str:
    """Return a path below one that is no directory."""
    path.write_text("x")
    return str(path / "audit.db")


def named_with_nul(path: Path) -> str:
    """Return a path that no file can have."""
    return f"{path}\0.db"


def below_nul(path: Path) -> str:
    """Return a path whose directory no directory can be."""
    return f"{path}\0/audit.db"


@pytest.mark.parametrize("bad", [unlistable, named_with_nul, below_nul])
def test_files_that_cannot_be_looked_at_are_unavailable(
    tmp_path: Path, bad: Callable[[Path], str]
) -> None:
    """Paths that no file can have are errors of the store."""
    path = bad(tmp_path / "file")

    for use in (files.require_private, SqliteEventStore.open):
        with pytest.raises(StoreUnavailableError):
            use(path)


def test_store_works_after_all_checks(tmp_path: Path) -> None:
    """The checks let an ordinary store through, on its second opening too."""
    for number in range(2):
        with SqliteEventStore.open(tmp_path / "audit.db") as store:
            assert store.append_event(gate_event(number)).seq == number + 1
