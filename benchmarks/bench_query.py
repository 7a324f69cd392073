"""What an operator asks of a store of 200,000 events; following and verifying it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO

import pytest
from figures import Asked, Figure
from full_store import PLAIN, Plain, build, questions
from mix import attempts
from processes import TOOLRT, environment
from pytest_benchmark.fixture import BenchmarkFixture
from turns import Side, in_turn, seconds

from toolrt_store import SqliteEventStore

Note = Callable[[Figure], None]

COUNT = 200_000
ROUNDS = 30
FOLLOWED = 30
#: Asked for at 10,000,000 events; here it must hold all the more.
ASKED = {"last 20 of a caller": 5.0, "explain, the store opened": 20.0}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that has its events."""
    return build(tmp_path_factory.mktemp("full"), COUNT)


@pytest.fixture(scope="module")
def plain(path: Path) -> Iterator[Plain]:
    """The rows of that store, for the cheapest way to ask."""
    made = Plain(path)
    yield made
    made.close()


@pytest.mark.parametrize(
    "name",
    [
        "last 20 of a caller",
        "use of a capability",
        "explain, the store opened",
        "a page 1,000 pages deep",
        "one attempt by call id",
        "count of a caller",
    ],
)
def bench_question(
    benchmark: BenchmarkFixture, note: Note, path: Path, plain: Plain, name: str
) -> None:
    """One question to an open store, in process."""
    with SqliteEventStore.open(path, read_only=True) as store:
        ours, limit = questions(store)[name], plain.questions()[name]
        pairs = in_turn(benchmark, Side(ours), Side(limit), rounds=ROUNDS)
    asked = Asked(ASKED[name]) if name in ASKED else None
    title = f"{name}, of {COUNT:,}"
    note(Figure.timed("query", title, "ms", pairs, cheapest=PLAIN, asked=asked))


def bench_verify(
    benchmark: BenchmarkFixture, note: Note, path: Path, plain: Plain
) -> None:
    """Chain, roots, signature, indexes: everything that verify looks at."""
    with SqliteEventStore.open(path, read_only=True) as store:
        total = store.coverage().events

        def work() -> None:
            assert store.verify().is_intact

        pairs = in_turn(
            benchmark, Side(work), Side(plain.hash_all), rounds=3, units=total
        )
    cheapest = "read the rows, one SHA-256 over each"
    asked = Asked(200_000)
    note(
        Figure.timed(
            "query", "verify", "events/s", pairs, cheapest=cheapest, asked=asked
        )
    )


def bench_follow(benchmark: BenchmarkFixture, note: Note, tmp_path: Path) -> None:
    """From the commit of an attempt to the line that tail -f prints of it."""
    env = environment(tmp_path)
    store_path = tmp_path / "audit.db"
    with SqliteEventStore.open(store_path) as store:
        source = attempts(store.process)
        store.append_events([one for some in islice(source, 500) for one in some])
        tail = [TOOLRT, "--store", str(store_path), "audit", "tail", "-f", "-n", "1"]
        with _lines(tail, env) as (printed, _), _lines(["cat"], env) as (back, there):
            printed.readline()

            def follow() -> float:
                # Not in step with the polls of the one that follows.
                time.sleep(0.137)
                store.append_events(next(source))
                return seconds(printed.readline)

            def echo() -> float:
                def there_and_back() -> None:
                    there.write(b"x\n")
                    there.flush()
                    back.readline()

                return seconds(there_and_back)

            pairs: list[tuple[float, float]] = []
            pedantic: Callable[..., object] = benchmark.pedantic
            pedantic(lambda: pairs.append((follow(), echo())), rounds=FOLLOWED)
    name, cheapest = (
        "tail -f, commit to line",
        "a line to a process that waits, and back",
    )
    note(Figure.timed("query", name, "ms", pairs, cheapest=cheapest, asked=Asked(250)))


@contextmanager
def _lines(
    command: list[str], env: dict[str, str]
) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Run *command*, give what it prints and what it reads, and end it."""
    with subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield process.stdout, process.stdin
        finally:
            process.terminate()
