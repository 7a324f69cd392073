"""Asking a person before an effect that the config says to ask for."""

from __future__ import annotations

import sys
from collections.abc import Collection

from toolrt import Allow, Deny, Gate, GateRequest, PolicyError
from toolrt_cli.escape import escape
from toolrt_cli.streams import Streams


class ConfirmationError(PolicyError):
    """The effect of a tool asks for a yes that nobody gave; nothing ran."""

    code = "confirmation_required"

    def __init__(self, tool_id: str, effect: str, *, was_asked: bool) -> None:
        self.tool_id = tool_id
        self.effect = effect
        self.was_asked = was_asked
        why = "the answer was not yes" if was_asked else "it asks first"
        super().__init__(f"{tool_id} has effect {effect}: {why}")


class UnconfirmedError(PolicyError):
    """What a command is to do asks for a yes that nobody gave; nothing was done."""

    code = "confirmation_required"

    def __init__(self, what: str, *, was_asked: bool) -> None:
        self.what = what
        self.was_asked = was_asked
        why = "the answer was not yes" if was_asked else "it asks first"
        super().__init__(f"{what}: {why}")


def require_yes(what: str, streams: Streams, *, yes: bool) -> None:
    """
    Ask whether *what* is to be done, unless *yes* says so already.

    Raises:
        UnconfirmedError: The answer was another, or there is nobody to ask.
    """
    if yes:
        return
    if not _can_ask(streams):
        raise UnconfirmedError(what, was_asked=False)
    if not _ask(f"{escape(what)}. Do it? [y/N] ", streams):
        raise UnconfirmedError(what, was_asked=True)


def _can_ask(streams: Streams) -> bool:
    return sys.stdin.isatty() and streams.err_terminal.is_tty


def _ask(question: str, streams: Streams) -> bool:
    streams.out.flush()
    streams.err.write(question)
    streams.err.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


class Confirmation:
    """
    Turns what a gate allows into a refusal unless a person says yes.

    One for each call. ``refusal`` is set once it has refused; ``is_interrupted`` says
    that Ctrl-C was the answer, which is a no as well.
    """

    def __init__(self, effects: Collection[str], streams: Streams) -> None:
        self._effects = effects
        self._streams = streams
        self.refusal: ConfirmationError | None = None
        self.is_interrupted = False

    def over(self, gate: Gate) -> Gate:
        """Return *gate* with the question behind it."""
        return _AskingGate(gate, self)

    def decide(self, request: GateRequest) -> Allow | Deny | None:
        """Return a refusal of *request*, or None to let the gate's word stand."""
        effect = request.context.effect
        if effect is None or effect not in self._effects:
            return None
        tool_id = str(request.context.tool_id)
        can_ask = _can_ask(self._streams)
        if can_ask and self._ask(f"{tool_id} has effect {effect}. Run it? [y/N] "):
            return None
        self.refusal = ConfirmationError(tool_id, effect, was_asked=can_ask)
        return Deny(str(self.refusal))

    def _ask(self, question: str) -> bool:
        try:
            return _ask(question, self._streams)
        except KeyboardInterrupt:
            self.is_interrupted = True
            return False


class _AskingGate:
    def __init__(self, gate: Gate, confirmation: Confirmation) -> None:
        self._gate = gate
        self._confirmation = confirmation
        self.impl_name = str(getattr(gate, "impl_name", type(gate).__name__))

    def check(self, request: GateRequest) -> Allow | Deny:
        """Return the gate's decision, or the refusal of an allow."""
        decision = self._gate.check(request)
        if not isinstance(decision, Allow):
            return decision
        return self._confirmation.decide(request) or decision
