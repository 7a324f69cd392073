"""Secrets, pages and middleware: stages 9 and 11, and what the caller sees."""

from collections.abc import Mapping
from typing import Any

import pytest

from toolrt import (
    ArgFault,
    BrokerError,
    CallContext,
    CallResult,
    CursorExpiredError,
    CursorInvalidError,
    CursorIssuer,
    CursorState,
    CursorTooLargeError,
    EnvTokenBroker,
    ErrorView,
    ExecutionFailed,
    InvalidArgs,
    InvalidArgsError,
    MiddlewareCall,
    MiddlewareError,
    Pack,
    PaginatedResult,
    RedactPaths,
    RegistryBuilder,
    SecretBundle,
    Success,
    ToolCall,
    ToolError,
    ToolFailedError,
)
from toolrt.testing import ManualClock, MemoryEventStore


class Bench:
    """A registry whose parts each test chooses."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryEventStore()
        self.pack = Pack("p")
        self.builder = (
            RegistryBuilder()
            .register(self.pack)
            .with_clock(self.clock)
            .with_event_store(self.store, calls=True)
        )

    def run(self, tool: str, params: Any = None, **fields: Any) -> CallResult:
        return self.builder.build().run(ToolCall(tool, params, **fields))


@pytest.fixture
def bench() -> Bench:
    return Bench()


class TestSecrets:
    """Stage 9: what a handler names, and only that."""

    @pytest.fixture(autouse=True)
    def _handlers(self, bench: Bench) -> None:
        @bench.pack.handler("use", secrets=["token"])
        def use(*, ctx: CallContext) -> str:
            assert ctx.secrets is not None
            assert ctx.secrets.names == ("token",)
            return str(len(ctx.secrets["token"].expose()))

        @bench.pack.handler("bare")
        def bare(*, ctx: CallContext) -> bool:
            return ctx.secrets is None

        @bench.pack.handler("leak", secrets=["token"])
        def leak(*, ctx: CallContext) -> Any:
            assert ctx.secrets is not None
            return {"token": ctx.secrets["token"]}

    def broker(self, environ: Mapping[str, str]) -> EnvTokenBroker:
        return EnvTokenBroker("T_", environ=environ)

    def test_a_named_secret_is_resolved_and_recorded_as_that(
        self, bench: Bench
    ) -> None:
        """secrets_resolved is true; the value is nowhere."""
        bench.builder.with_token_broker(self.broker({"T_TOKEN": "hunter2", "T_X": "y"}))

        result = bench.run("use")

        assert result.value == "7"
        assert result.event is not None
        assert result.event.secrets_resolved is True
        assert "hunter2" not in str(bench.store.events)

    def test_what_names_nothing_gets_nothing(self, bench: Bench) -> None:
        """No broker is asked for a handler without secrets, nor in a dry run."""

        class Never:
            def resolve(self, caller: str | None, names: tuple[str, ...]) -> None:
                raise AssertionError

        bench.builder.with_token_broker(Never())

        bare, dry = bench.run("bare"), bench.run("use", dry_run=True)

        assert bare.value is True
        assert bare.event is not None
        assert dry.event is not None
        assert not bare.event.secrets_resolved
        assert not dry.event.secrets_resolved

    @pytest.mark.parametrize("error", [BrokerError("it is down"), OSError("hunter2")])
    def test_a_broker_that_fails_is_its_own_outcome(
        self, bench: Bench, error: Exception
    ) -> None:
        """execution_failed with broker_error, retryable; the handler does not run."""

        class Broken:
            def resolve(self, caller: str | None, names: tuple[str, ...]) -> None:
                raise error

        bench.builder.with_token_broker(Broken())

        result = bench.run("use")

        assert isinstance(result.error, BrokerError)
        assert "hunter2" not in str(result.error)
        assert result.outcome == ExecutionFailed("broker_error", retryable=True)
        assert result.event is not None
        assert not result.event.secrets_resolved

    def test_a_broker_without_secrets_for_the_caller_gives_none(
        self, bench: Bench
    ) -> None:
        """None is an answer: the handler sees it, the record says not resolved."""

        class Empty:
            def resolve(
                self, caller: str | None, names: tuple[str, ...]
            ) -> SecretBundle | None:
                return None

        @bench.pack.handler("maybe", secrets=["token"])
        def maybe(*, ctx: CallContext) -> bool:
            return ctx.secrets is None

        bench.builder.with_token_broker(Empty())

        result = bench.run("maybe")

        assert result.value is True
        assert result.event is not None
        assert not result.event.secrets_resolved

    def test_a_secret_cannot_be_returned(self, bench: Bench) -> None:
        """It is no JSON: the call fails and the value stays inside."""
        bench.builder.with_token_broker(self.broker({"T_TOKEN": "hunter2"}))

        result = bench.run("leak")

        assert result.outcome == ExecutionFailed("INTERNAL", retryable=False)
        assert "hunter2" not in repr(result)


class TestPages:
    """Paginating handlers, page by page."""

    @pytest.fixture(autouse=True)
    def _handlers(self, bench: Bench) -> None:
        @bench.pack.handler("count", paginates=True)
        def count(size: int, *, cursor: CursorState | None) -> PaginatedResult:
            start = 0 if cursor is None else int(cursor.state)
            end = start + size
            return PaginatedResult(
                list(range(start, end)), str(end).encode() if end < 6 else None
            )

        @bench.pack.handler("plain")
        def plain() -> PaginatedResult:
            return PaginatedResult([])

        @bench.pack.handler("huge", paginates=True)
        def huge() -> PaginatedResult:
            return PaginatedResult([], b"x" * 5000)

    def test_the_schema_leaves_the_cursor_out(self, bench: Bench) -> None:
        """The cursor is given by the runtime, no argument."""
        assert list(bench.pack.handlers[0].input_schema["properties"]) == ["size"]

    def test_pages_lead_on_to_the_last(self, bench: Bench) -> None:
        """Each page is recorded with its number; the last one has no cursor."""
        registry = bench.builder.build()
        values, pages, cursor = [], [], None
        while True:
            result = registry.run(ToolCall("count", {"size": 2}, "a", cursor=cursor))
            assert result.event is not None
            values += result.value
            pages.append(result.event.cursor_page)
            cursor = result.next_cursor
            if cursor is None:
                break

        assert values == [0, 1, 2, 3, 4, 5]
        assert pages == [1, 2, 3]

    def test_a_single_page_is_recorded_without_a_number(self, bench: Bench) -> None:
        """cursor_page is for calls that returned or took a cursor."""
        result = bench.run("count", {"size": 6})

        assert result.next_cursor is None
        assert result.event is not None
        assert result.event.cursor_page is None

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            pytest.param({"caller": "b"}, "caller", id="another caller"),
            pytest.param({"params": {"size": 3}}, "args", id="other arguments"),
            pytest.param({"cursor": "AAAA"}, "size", id="no cursor"),
            pytest.param({"tool": "plain", "params": None}, "tool", id="another tool"),
        ],
    )
    def test_a_cursor_belongs_to_its_call(
        self, bench: Bench, change: dict[str, Any], reason: str
    ) -> None:
        """Tool, caller and arguments are compared; the handler does not run."""
        registry = bench.builder.build()
        fields: dict[str, Any] = {"tool": "count", "params": {"size": 2}, "caller": "a"}
        first = registry.run(ToolCall(**fields))
        fields |= {"cursor": first.next_cursor, **change}

        result = registry.run(ToolCall(**fields))

        assert isinstance(result.error, CursorInvalidError)
        assert result.error.code == "cursor_invalid"
        assert isinstance(result.outcome, InvalidArgs)
        assert result.error.reason in (reason, "encoding", "signature")

    def test_a_cursor_expires(self, bench: Bench) -> None:
        """After its time it is cursor_expired."""
        registry = bench.builder.build()
        first = registry.run(ToolCall("count", {"size": 2}))
        bench.clock.advance(301)

        result = registry.run(ToolCall("count", {"size": 2}, cursor=first.next_cursor))

        assert isinstance(result.error, CursorExpiredError)

    def test_processes_with_one_key_read_each_others_cursors(
        self, bench: Bench
    ) -> None:
        """Without a shared key a cursor is good within its registry alone."""
        call = ToolCall("count", {"size": 2})
        own = bench.builder.build().run(call).next_cursor
        bench.builder.with_cursor_issuer(CursorIssuer(bytes(32)))
        shared = bench.builder.build().run(call).next_cursor

        assert bench.run("count", {"size": 2}, cursor=shared).value == [2, 3]
        other = bench.run("count", {"size": 2}, cursor=own)
        assert isinstance(other.error, CursorInvalidError)

    def test_a_page_of_what_does_not_paginate_is_internal(self, bench: Bench) -> None:
        """The declaration and the result must agree."""
        result = bench.run("plain")

        assert result.outcome == ExecutionFailed("INTERNAL", retryable=False)

    def test_a_state_that_does_not_fit_is_internal(self, bench: Bench) -> None:
        """A cursor has at most 1,024 characters."""
        result = bench.run("huge")

        assert result.outcome == ExecutionFailed("INTERNAL", retryable=False)


class Upper:
    """A middleware that shouts, and remembers what it was shown."""

    def __init__(self) -> None:
        self.shown: list[Any] = []

    def on_result(self, call: MiddlewareCall, value: Any, /) -> Any:
        self.shown.append(("result", call.tool_id, value))
        if isinstance(value, dict):
            return {**value, "message": str(value.get("message")).upper()}
        return str(value).upper()

    def on_error(self, call: MiddlewareCall, error: ErrorView, /) -> ErrorView:
        self.shown.append(("error", call.tool_id, error.message))
        return ErrorView(error.message.upper(), error.details)


class TestMiddleware:
    """Stage 11: what is changed, what is left alone, what is withheld."""

    @pytest.fixture(autouse=True)
    def _handlers(self, bench: Bench) -> None:
        @bench.pack.handler("say")
        def say(text: str) -> str:
            return text

        @bench.pack.handler("fail")
        def fail() -> None:
            raise ToolError("NO", "in /home/me", retryable=True)

        @bench.pack.handler("crash")
        def crash() -> None:
            raise OSError("in /home/me")

        @bench.pack.handler("picky")
        def picky(path: str) -> None:
            raise InvalidArgsError([ArgFault("path", "must exist", f'"{path}"')])

    def test_values_and_tool_failures_are_results(self, bench: Bench) -> None:
        """In order; code and outcome stay what they were."""
        upper = Upper()
        bench.builder.with_middleware(upper)

        value = bench.run("say", {"text": "hi"}).value
        failed = bench.run("fail")

        assert value == "HI"
        assert isinstance(failed.error, ToolFailedError)
        assert failed.error.text == "IN /HOME/ME"
        assert failed.outcome == ExecutionFailed("NO", retryable=True)
        assert [kind for kind, *_ in upper.shown] == ["result", "result"]

    def test_other_errors_are_errors(self, bench: Bench) -> None:
        """INTERNAL and arguments that the handler refused, with their details."""
        bench.builder.with_middleware(RedactPaths([("/home/me", "<me>")]))

        crashed = bench.run("crash")
        refused = bench.run("picky", {"path": "/home/me/x"})

        assert isinstance(crashed.error, ToolFailedError)
        assert crashed.error.text == "OSError: in <me>"
        assert isinstance(refused.error, InvalidArgsError)
        assert refused.error.faults[0].value == '"<me>/x"'

    def test_a_broker_that_fails_is_an_error_too(self, bench: Bench) -> None:
        """Its words may hold a path; which secret it was stays told."""

        class Broken:
            def resolve(self, caller: str | None, names: tuple[str, ...]) -> None:
                raise BrokerError("no file in /home/me", secret="token")

        @bench.pack.handler("use", secrets=["token"])
        def use() -> None: ...

        bench.builder.with_token_broker(Broken()).with_middleware(Upper())

        result = bench.run("use")

        assert isinstance(result.error, BrokerError)
        assert str(result.error) == "secret 'token': NO FILE IN /HOME/ME"
        assert result.outcome == ExecutionFailed("broker_error", retryable=True)

    def test_a_refusal_in_toolrts_own_words_is_passed_on(self, bench: Bench) -> None:
        """A page state that does not fit: there is no text of others in it."""
        upper = Upper()
        bench.builder.with_middleware(upper)

        @bench.pack.handler("turn", paginates=True)
        def turn() -> PaginatedResult:
            return PaginatedResult([], bytes(2000))

        assert isinstance(bench.run("turn").error, CursorTooLargeError)
        assert upper.shown == []

    def test_details_that_are_none_any_more_withhold_the_error(
        self, bench: Bench
    ) -> None:
        """A middleware that leaves no faults of arguments has failed."""

        class Tidy:
            def on_result(self, call: MiddlewareCall, value: Any, /) -> Any:
                return value

            def on_error(self, call: MiddlewareCall, error: ErrorView, /) -> ErrorView:
                return ErrorView(error.message, "nothing to see")

        bench.builder.with_middleware(Tidy())

        result = bench.run("picky", {"path": "/home/me/x"})

        assert isinstance(result.error, MiddlewareError)
        assert "/home/me" not in str(result.error)
        assert result.error.__cause__ is not None

    def test_early_returns_run_none(self, bench: Bench) -> None:
        """Refusals and dry runs are not the tool's."""
        upper = Upper()
        bench.builder.with_middleware(upper)

        bench.run("nothing")
        bench.run("say", {"txt": 1})
        bench.run("say", {"text": "x"}, dry_run=True)

        assert upper.shown == []

    def test_several_are_applied_in_their_order(self, bench: Bench) -> None:
        """The first one's result is the second one's value."""
        bench.builder.with_middleware(RedactPaths([("a", "b")]))
        bench.builder.with_middleware(RedactPaths([("b", "c")]))

        assert bench.run("say", {"text": "a"}).value == "c"

    @pytest.mark.parametrize("tool", ["say", "fail", "crash"])
    def test_a_middleware_that_fails_withholds_everything(
        self, bench: Bench, tool: str
    ) -> None:
        """Fail closed: neither the value nor the error gets out."""

        class Broken:
            def on_result(self, call: MiddlewareCall, value: Any, /) -> Any:
                raise OSError("hush")

            def on_error(self, call: MiddlewareCall, error: ErrorView, /) -> ErrorView:
                raise OSError("hush")

        bench.builder.with_middleware(Broken())

        result = bench.run(tool, {"text": "hi"} if tool == "say" else None)

        assert isinstance(result.error, MiddlewareError)
        assert result.value is None
        assert "hush" not in str(result.error)
        assert result.outcome == ExecutionFailed("INTERNAL", retryable=False)

    def test_the_record_is_made_of_what_happened(self, bench: Bench) -> None:
        """A middleware changes what is seen, not what is recorded."""
        bench.builder.with_middleware(Upper())

        assert bench.run("say", {"text": "x"}).outcome == Success()
