"""Cursors and the key that they are signed with."""

from __future__ import annotations

import base64
import hmac
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolrt.cursor import (
    KEY_VARIABLE,
    MAX_CURSOR_CHARS,
    CursorExpiredError,
    CursorInvalidError,
    CursorIssuer,
    CursorKeyError,
    CursorState,
    CursorTooLargeError,
    load_key,
)
from toolrt.errors import InvalidInputError, ToolrtError

KEY = bytes(range(32))
NOW = 1_750_000_000_000_000
SECOND = 1_000_000
ISSUER = CursorIssuer(KEY)
CALL: dict[str, Any] = {
    "tool_id": "std:fs.glob",
    "caller": "alice",
    "args_digest": b"d" * 16,
}
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def issued(state: bytes = b"state", page: int = 1, now_us: int = NOW) -> str:
    """Return a cursor of the call ``CALL``."""
    return ISSUER.issue(**CALL, page=page, state=state, now_us=now_us)


def reason_of(cursor: str, **changes: Any) -> str:
    """Return why *cursor* is refused for ``CALL`` with *changes*."""
    with pytest.raises(CursorInvalidError, match="not valid here") as caught:
        ISSUER.read(cursor, **{**CALL, "now_us": NOW, **changes})
    return caught.value.reason


def signed(payload: bytes) -> str:
    """Return *payload* as a cursor with the right tag."""
    raw = payload + hmac.digest(KEY, payload, "sha256")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class TestIssuer:
    """What is issued is read back by the same call, and by no other."""

    @given(
        tool_id=st.text(max_size=30),
        caller=st.none() | st.text(st.characters(exclude_categories=()), max_size=30),
        args_digest=st.binary(max_size=32),
        page=st.integers(1, 2**63),
        state=st.binary(max_size=256),
    )
    def test_round_trip(
        self,
        tool_id: str,
        caller: str | None,
        args_digest: bytes,
        page: int,
        state: bytes,
    ) -> None:
        """Page and state come back as they were, in at most 1,024 plain characters."""
        call: dict[str, Any] = {
            "tool_id": tool_id,
            "caller": caller,
            "args_digest": args_digest,
        }

        cursor = ISSUER.issue(**call, page=page, state=state, now_us=NOW)

        assert set(cursor) <= set(ALPHABET)
        assert len(cursor) <= MAX_CURSOR_CHARS
        assert ISSUER.read(cursor, **call, now_us=NOW) == CursorState(page, state)

    @given(data=st.data())
    def test_any_change_of_one_character_is_refused(self, data: st.DataObject) -> None:
        """Whatever replaces whichever character, spare bits at the end included."""
        cursor = issued(data.draw(st.binary(max_size=8)))
        at = data.draw(st.integers(0, len(cursor) - 1))
        other = data.draw(st.sampled_from(ALPHABET + "+/=\n é\ud800"))
        changed = cursor[:at] + other + cursor[at + 1 :]

        if changed != cursor:
            assert reason_of(changed) in {"encoding", "signature"}

    @given(st.text(st.characters(exclude_categories=())))
    def test_any_text_is_refused(self, text: str) -> None:
        """A text that was not issued is refused, and nothing else is raised."""
        assert reason_of(text) in {"size", "encoding", "signature"}

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            pytest.param({"tool_id": "std:fs.grep"}, "tool", id="another tool"),
            pytest.param({"caller": "bob"}, "caller", id="another caller"),
            pytest.param({"caller": None}, "caller", id="nobody"),
            pytest.param({"args_digest": b"e" * 16}, "args", id="other arguments"),
            pytest.param({"now_us": NOW - 60 * SECOND - 1}, "time", id="future"),
        ],
    )
    def test_another_call_is_refused(self, changes: Any, reason: str) -> None:
        """A cursor serves its tool, caller and arguments, and none from the future."""
        assert reason_of(issued(), **changes) == reason

    @pytest.mark.parametrize(
        ("cursor", "reason"),
        [
            pytest.param("", "size", id="empty"),
            pytest.param("A" * 1025, "size", id="too long"),
            pytest.param("A", "encoding", id="no whole byte"),
            pytest.param(issued() + "=", "encoding", id="padded"),
            pytest.param("AAAA", "signature", id="shorter than a tag"),
            pytest.param(signed(b""), "version", id="empty payload"),
            pytest.param(signed(b"\x02later"), "version", id="another version"),
            pytest.param(signed(b"\x01\x90"), "payload", id="another shape"),
        ],
    )
    def test_another_form_is_refused(self, cursor: str, reason: str) -> None:
        """Each form of a wrong cursor has its word."""
        assert reason_of(cursor) == reason

    def test_another_key_is_refused(self) -> None:
        """A cursor of another installation has a wrong signature."""
        cursor = CursorIssuer(bytes(32)).issue(**CALL, page=1, state=b"", now_us=NOW)

        assert reason_of(cursor) == "signature"

    def test_a_cursor_is_good_for_its_time_to_live(self) -> None:
        """At 300 s it is read, a microsecond later it has expired."""
        cursor = issued()

        state = ISSUER.read(cursor, **CALL, now_us=NOW + 300 * SECOND)
        with pytest.raises(CursorExpiredError, match="older than 300 s") as caught:
            ISSUER.read(cursor, **CALL, now_us=NOW + 300 * SECOND + 1)

        assert state == CursorState(1, b"state")
        assert caught.value.code == "cursor_expired"
        assert isinstance(caught.value, InvalidInputError)

    def test_clocks_may_differ_by_a_minute(self) -> None:
        """A cursor that is a minute ahead is read."""
        assert ISSUER.read(issued(), **CALL, now_us=NOW - 60 * SECOND).page == 1

    def test_another_caller_does_not_learn_that_it_expired(self) -> None:
        """What is bound is compared before the age."""
        late = NOW + 301 * SECOND

        assert reason_of(issued(), caller="bob", now_us=late) == "caller"

    def test_a_state_that_does_not_fit_is_an_error(self) -> None:
        """The largest state fits exactly; one byte more is the tool's error."""
        sizes = range(500, 800)
        fits = [size for size in sizes if _fits(size)]

        with pytest.raises(CursorTooLargeError, match="the limit is 1024") as caught:
            issued(bytes(fits[-1] + 1))

        assert len(issued(bytes(fits[-1]))) == MAX_CURSOR_CHARS
        assert caught.value.chars > MAX_CURSOR_CHARS
        assert caught.value.code == "cursor_too_large"
        assert not isinstance(caught.value, InvalidInputError)

    def test_the_error_holds_nothing_of_the_cursor(self) -> None:
        """Code and reason are fixed words."""
        with pytest.raises(CursorInvalidError) as caught:
            ISSUER.read("not-mine", **CALL, now_us=NOW)

        assert caught.value.code == "cursor_invalid"
        assert "not-mine" not in str(caught.value)
        assert isinstance(caught.value, InvalidInputError)

    @pytest.mark.parametrize("page", [0, -1])
    def test_pages_count_from_one(self, page: int) -> None:
        """A page below 1 is a usage error."""
        with pytest.raises(ValueError, match="count from 1"):
            issued(page=page)

    def test_key_and_time_to_live_are_checked(self) -> None:
        """A key of another length and a life of no time are usage errors."""
        with pytest.raises(ValueError, match="32 bytes, not 5"):
            CursorIssuer(b"short")
        with pytest.raises(ValueError, match="must be positive"):
            CursorIssuer(KEY, ttl_s=0)


def _fits(size: int) -> bool:
    try:
        issued(bytes(size))
    except CursorTooLargeError:
        return False
    return True


class TestKeyVariable:
    """``TOOLRT_CURSOR_KEY`` wins over the file and is never passed over."""

    @given(st.binary(min_size=32, max_size=32))
    def test_both_forms_of_base64_are_read(self, key: bytes) -> None:
        """URL-safe without padding, and standard."""
        texts = [
            base64.urlsafe_b64encode(key).rstrip(b"=").decode(),
            base64.b64encode(key).decode(),
        ]

        for text in texts:
            assert load_key(environ={KEY_VARIABLE: text}, path="/nonexistent/k") == key

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            pytest.param("", "holds 0 bytes, not 32", id="empty"),
            pytest.param("QUJD", "holds 3 bytes, not 32", id="short"),
            pytest.param("A" * 44, "holds 33 bytes, not 32", id="long"),
            pytest.param("A" * 42 + "B", "is no base64", id="spare bits"),
            pytest.param("A" * 43 + "\n", "is no base64", id="newline"),
            pytest.param("pässword", "is no base64", id="not ASCII"),
        ],
    )
    def test_a_bad_value_is_an_error(
        self, tmp_path: Path, text: str, problem: str
    ) -> None:
        """No key is made up where the one that was given cannot be used."""
        path = tmp_path / "key"

        with pytest.raises(CursorKeyError, match=problem) as caught:
            load_key(environ={KEY_VARIABLE: text}, path=str(path))

        assert caught.value.source == KEY_VARIABLE
        assert caught.value.code == "cursor_key"
        assert isinstance(caught.value, ToolrtError)
        assert not text or text not in str(caught.value)
        assert not path.exists()


class TestKeyFile:
    """The key file is private, and one for all processes."""

    def test_a_missing_file_is_made(self, tmp_path: Path) -> None:
        """It is 0600 in a 0700 directory, alone there, and read again next time."""
        path = tmp_path / "state" / "cursor.key"

        key = load_key(environ={}, path=str(path))

        assert load_key(environ={}, path=str(path)) == key == path.read_bytes()
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert list(path.parent.iterdir()) == [path]

    def test_a_relative_path_is_the_working_directory_s(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A bare file name needs no directory."""
        monkeypatch.chdir(tmp_path)

        assert load_key(environ={}, path="key") == (tmp_path / "key").read_bytes()

    def test_processes_that_make_it_at_once_agree(self, tmp_path: Path) -> None:
        """All get the key of the one that was first."""
        path = tmp_path / "new" / "cursor.key"
        script = (
            "import sys; from toolrt.cursor import load_key;"
            "print('ready', flush=True); sys.stdin.readline();"
            "print(load_key(environ={}, path=sys.argv[1]).hex())"
        )
        command = [sys.executable, "-c", script, str(path)]
        pipe = subprocess.PIPE
        processes: list[Any] = [
            subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe)
            for _ in range(4)
        ]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()

        keys = {process.communicate()[0].strip() for process in processes}

        assert keys == {path.read_bytes().hex()}
        assert list(path.parent.iterdir()) == [path]

    def test_the_second_to_make_it_takes_the_first_s_key(self, tmp_path: Path) -> None:
        """A file that appears in between is not replaced."""
        from toolrt.cursor import _make_key_file

        path = tmp_path / "key"
        path.write_bytes(KEY)
        path.chmod(0o600)

        _make_key_file(str(path))

        assert path.read_bytes() == KEY
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o601])
    def test_a_file_open_to_others_is_refused(self, tmp_path: Path, mode: int) -> None:
        """Whoever else can read or write it could sign cursors."""
        path = _key_file(tmp_path)
        path.chmod(mode)

        with pytest.raises(CursorKeyError, match="open to group or others"):
            load_key(environ={}, path=str(path))

    @pytest.mark.parametrize("size", [0, 31, 33])
    def test_a_file_of_another_size_is_refused(self, tmp_path: Path, size: int) -> None:
        """Only 32 bytes are a key; nothing is made in its place."""
        path = _key_file(tmp_path, bytes(size))

        with pytest.raises(CursorKeyError, match="32"):
            load_key(environ={}, path=str(path))

        assert path.stat().st_size == size

    def test_a_link_is_refused(self, tmp_path: Path) -> None:
        """Neither a link to a good key nor one to nothing is followed."""
        good, dangling = tmp_path / "good", tmp_path / "dangling"
        good.symlink_to(_key_file(tmp_path))
        dangling.symlink_to(tmp_path / "nothing")

        for path in (good, dangling):
            with pytest.raises(CursorKeyError, match="links") as caught:
                load_key(environ={}, path=str(path))
            assert caught.value.source == str(path)
        assert not (tmp_path / "nothing").exists()

    def test_what_is_no_regular_file_is_refused(self, tmp_path: Path) -> None:
        """A FIFO is refused at once, as is a directory."""
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo, 0o600)

        for path in (fifo, tmp_path):
            with pytest.raises(CursorKeyError, match="not a regular file"):
                load_key(environ={}, path=str(path))

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
    def test_a_file_of_another_user_is_refused(self, tmp_path: Path) -> None:
        """Its owner knows the key."""
        path = _key_file(tmp_path)
        os.chown(path, 12345, -1)

        with pytest.raises(CursorKeyError, match="owned by another user"):
            load_key(environ={}, path=str(path))

    def test_a_file_that_cannot_be_made_is_an_error(self, tmp_path: Path) -> None:
        """A file where the directory should be is named."""
        (tmp_path / "file").touch()

        with pytest.raises(CursorKeyError, match=r"[Dd]irectory"):
            load_key(environ={}, path=str(tmp_path / "file" / "key"))


def _key_file(directory: Path, key: bytes = KEY) -> Path:
    path = directory / "key"
    path.write_bytes(key)
    path.chmod(0o600)
    return path


def test_a_state_is_a_record() -> None:
    """It is frozen and has the two fields, in order."""
    assert msgspec.structs.astuple(CursorState(2, b"x")) == (2, b"x")
