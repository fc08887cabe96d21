"""What the agent asks of the workload: each id once, however often it comes, and its answer until it is received."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from typing import Any, Callable

from quorate_mission._wire import MOST_TEXT, clean

ACTIONS = (
    "FreeMemory", "ReducePrecision", "ReduceBatch", "DisableOptional", "Checkpoint", "RollBack", "CheckpointAndAbort",
)  # fmt: skip
"""The directives there are."""
DONE, REFUSED, FAILED = "Done", "Refused", "Failed"
MOST_KNOWN = 256
MOST_WAITING = 32


class Cannot(Exception):  # noqa: N818 - what a handler says, not an error of this package
    """Raised by a handler: the workload cannot do this, for this reason."""


class Directive:
    """One thing that is asked; answer it once, with `done`, `cannot` or `failed`.

    Attributes:
        id: the decision's id in the log.
        action: one of `ACTIONS`.
        policy: name of the policy that asks.
        rule: the rule of it that is broken.
        arguments: integers of the evidence, such as `limit` in bytes.
    """

    __slots__ = ("_answer", "_until", "action", "arguments", "id", "policy", "rule")

    def __init__(self, message: dict[str, Any], answer: Callable[[Directive, str, str], None]) -> None:
        self.id: str = message["id"]
        self.action: str = message["action"]
        self.policy: str = message["policy"]
        self.rule: str = message["rule"]
        self.arguments: dict[str, int] = message["arguments"]
        self._until: float = time.monotonic() + message["within"] / 1e6
        self._answer = answer

    @property
    def remaining(self) -> float:
        """Seconds left to answer; 0.0 when they are over."""
        return max(0.0, self._until - time.monotonic())

    def done(self, reason: object = "") -> None:
        """It was done."""
        self._answer(self, DONE, clean(reason))

    def cannot(self, reason: object) -> None:
        """It cannot be done."""
        self._answer(self, REFUSED, clean(reason))

    def failed(self, reason: object) -> None:
        """It was tried and failed."""
        self._answer(self, FAILED, clean(reason))

    def __repr__(self) -> str:
        return f"Directive({self.action} {self.id}, {self.remaining:.1f} s left)"


def is_directive(message: dict[str, Any]) -> bool:
    """Whether a message has the form of a directive; the agent is believed no more than a workload."""
    texts = (message.get("id"), message.get("policy"), message.get("rule"))
    within, arguments = message.get("within"), message.get("arguments")
    return (
        all(isinstance(text, str) and len(text) <= MOST_TEXT for text in texts)
        and message.get("action") in ACTIONS
        and type(within) is int
        and 0 < within <= 2**53
        and isinstance(arguments, dict)
        and len(arguments) <= 16
        and all(type(value) is int for value in arguments.values())
    )


class Book:
    """Directives between two threads: the speaker offers, the loop takes and answers. Only deques are shared."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.inbox: deque[Directive] = deque(maxlen=MOST_WAITING)
        self._answers: deque[tuple[str, str, str]] = deque(maxlen=MOST_KNOWN)
        self._known: OrderedDict[str, dict[str, Any] | None] = OrderedDict()  # id → answer; the speaker's own
        self.unsent: OrderedDict[str, dict[str, Any]] = OrderedDict()  # the speaker's own
        self._wake = wake

    def offer(self, message: dict[str, Any]) -> None:
        """The speaker: a directive came; one that was answered before gets its answer again."""
        key = message["id"]
        if key not in self._known:
            self._known[key] = None
            if len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
            self.inbox.append(Directive(message, self._answer))
        elif (answer := self._known[key]) is not None:
            self.unsent[key] = answer

    def collect(self) -> None:
        """The speaker: take over the answers that were given; the first to an id counts."""
        while self._answers:
            key, answer, reason = self._answers.popleft()
            if self._known.get(key, key) is None:
                message = {"type": "answer", "id": key, "answer": answer, "reason": reason}
                self._known[key] = self.unsent[key] = message

    def received(self, key: object) -> None:
        """The speaker: the agent has an answer."""
        if isinstance(key, str):
            self.unsent.pop(key, None)

    def _answer(self, directive: Directive, answer: str, reason: str) -> None:
        self._answers.append((directive.id, answer, reason))
        self._wake()
