"""The agent's end of the mission protocol: bytes to messages and back (docs/mission-protocol.md)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from quorate.api.mission_policy import LadderAction
from quorate.canonical import NotCanonicalError, parse_json
from quorate.missions.ladder import DIRECTIVES
from quorate.missions.latency import MOST_BUCKET
from quorate.missions.samples import Answer, Metric
from quorate.missions.series import SECOND

PROTOCOL: Final = 1
MOST_BYTES: Final = 65_536
"""Of a frame, without its four bytes of length."""
MOST_SPAN: Final = 10 * SECOND
MOST_COUNT: Final = 1_000_000_000
MOST_SOURCES: Final = 4
MOST_OBJECTIVES: Final = 16
MOST_FACTS: Final = 32
MOST_TEXT: Final = 256
MOST_ARGUMENTS: Final = 16
MOST_SHOWN: Final = 64
"""Characters of a refused value that are said again."""
GAUGES: Final = {
    str(metric): metric for metric in (Metric.ITERATION, Metric.ENTROPY, Metric.EPSILON, Metric.DELTA, Metric.UP)
}
_NAME = re.compile(r"[ !#-\[\]-~]{1,64}", re.ASCII)
_SESSION = re.compile(r"[0-9a-f]{32}", re.ASCII)
_RESULT = re.compile(r"[0-9a-f]{64}", re.ASCII)


class ProtocolRefusedError(ValueError):
    """A message that cannot be; the connection ends with it.

    Attributes:
        field: path in the message, empty for the frame as a whole.
        value: what stood there, shortened.
        rule: what it breaks.
    """

    def __init__(self, field: str, value: Any, rule: str) -> None:
        self.field = field
        self.value = str(value)[:MOST_SHOWN]
        self.rule = rule
        super().__init__(f"{field or 'frame'} {self.value!r}: {rule}")


@dataclass(frozen=True, slots=True)
class Hello:
    """First message: the session that goes on or begins, the client, and the directives it can carry out."""

    session: str
    client: str
    takes: frozenset[LadderAction]


@dataclass(frozen=True, slots=True)
class Takes:
    """Replaces the directives that hello declared."""

    takes: frozenset[LadderAction]


@dataclass(frozen=True, slots=True)
class Told:
    """A report: what happened in the last `span` microseconds.

    Attributes:
        latency: source → bucket → how many requests since the last report.
        gauges: metric → value in the metric's unit.
        objective: name → millionths.
        lost: calls of the workload that could not be reported.
    """

    seq: int
    span: int
    latency: Mapping[str, Mapping[int, int]]
    gauges: Mapping[Metric, int]
    objective: Mapping[str, int]
    lost: int


@dataclass(frozen=True, slots=True)
class Ran:
    """A run ended: what it was made from, and the SHA-256 of its result in hexadecimal digits."""

    seq: int
    facts: Mapping[str, str]
    result: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The workload's answer to a directive."""

    id: str
    answer: Answer
    reason: str


Message = Hello | Takes | Told | Ran | Answered


@dataclass(frozen=True, slots=True)
class Directive:
    """What a workload is asked; `within` is microseconds left to answer, `arguments` the evidence's integers."""

    id: str
    action: LadderAction
    within: int
    policy: str
    rule: str
    arguments: Mapping[str, int]


class Frames:
    """Bytes of one connection to frames; holds one frame at most that is not complete."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def begun(self) -> bool:
        """Whether a frame has begun that is not complete."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that are complete with `data`.

        Raises:
            ProtocolRefusedError: a length of 0, or over `MOST_BYTES`.
        """
        buffer, frames, start = self._buffer, [], 0
        buffer += data
        while len(buffer) - start >= 4:
            size = int.from_bytes(buffer[start : start + 4], "big")
            if not 1 <= size <= MOST_BYTES:
                raise ProtocolRefusedError("", size, f"a frame is 1 to {MOST_BYTES} bytes long")
            if len(buffer) - start < 4 + size:
                break
            frames.append(bytes(buffer[start + 4 : start + 4 + size]))
            start += 4 + size
        del buffer[:start]
        return frames


def framed(message: Mapping[str, Any]) -> bytes:
    """The frame of a message."""
    data = orjson.dumps(message)
    return len(data).to_bytes(4, "big") + data


def welcome(interval: int) -> bytes:
    """The frame that answers a hello; `interval` in microseconds."""
    return framed({"type": "welcome", "protocol": PROTOCOL, "interval": interval})


def received(message: Told | Ran | Answered) -> bytes:
    """The frame that says a message was taken."""
    name, value = ("id", message.id) if isinstance(message, Answered) else ("seq", message.seq)
    return framed({"type": "received", name: value})


def refused(error: ProtocolRefusedError) -> bytes:
    """The frame that says why a message cannot be."""
    # Replacing what is no character: the value may hold a lone surrogate, and the frame must be UTF-8.
    value = error.value.encode("utf-8", "replace").decode()
    return framed({"type": "refused", "field": error.field, "value": value, "rule": error.rule})


def directed(directive: Directive) -> bytes:
    """The frame of a directive."""
    arguments = dict(list(directive.arguments.items())[:MOST_ARGUMENTS])
    return framed({"type": "directive", "id": directive.id, "action": directive.action, "within": directive.within,
                   "policy": directive.policy, "rule": directive.rule, "arguments": arguments})  # fmt: skip


def parse(frame: bytes) -> Message:
    """The message of a frame.

    Raises:
        ProtocolRefusedError: names field, value and rule.
    """
    try:
        found = parse_json(frame)
    except NotCanonicalError as error:
        raise ProtocolRefusedError("", frame[:MOST_SHOWN].decode("utf-8", "replace"), str(error)) from error
    if not isinstance(found, dict):
        raise ProtocolRefusedError("", found, "a message is an object")
    kind = found.pop("type", None)
    made = _KINDS.get(kind) if isinstance(kind, str) else None
    if made is None:
        raise ProtocolRefusedError("type", kind, f"one of {', '.join(_KINDS)}")
    message = made(found)
    for name in found:
        raise ProtocolRefusedError(name, found[name], f"{kind} has no such member")
    return message


_Body = dict[str, Any]
"""Members are popped as they are read: what remains is unknown."""


def _text(body: _Body, field: str, most: int, least: int = 0) -> str:
    value = body.pop(field, None)
    if not isinstance(value, str) or not least <= len(value) <= most:
        raise ProtocolRefusedError(field, value, f"text of {least} to {most} characters")
    return value


def _matching(body: _Body, field: str, form: re.Pattern[str], rule: str) -> str:
    value = body.pop(field, None)
    if not isinstance(value, str) or form.fullmatch(value) is None:
        raise ProtocolRefusedError(field, value, rule)
    return value


def _integer(field: str, value: Any, least: int, most: int | None = None) -> int:
    if type(value) is not int or value < least or (most is not None and value > most):
        raise ProtocolRefusedError(field, value, f"an integer from {least}" + ("" if most is None else f" to {most}"))
    return value


def _members(body: _Body, field: str, most: int) -> dict[str, Any]:
    found = body.pop(field, {})
    if not isinstance(found, dict) or len(found) > most:
        raise ProtocolRefusedError(field, found, f"an object of at most {most} members")
    return found


def _named(field: str, name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise ProtocolRefusedError(field, name, 'a name is 1 to 64 printable ASCII characters without " and \\')
    return f'{field}["{name}"]'


def _takes(body: _Body) -> frozenset[LadderAction]:
    names = body.pop("takes", None)
    if not isinstance(names, list) or len(names) > len(DIRECTIVES):
        raise ProtocolRefusedError("takes", names, f"a list of at most {len(DIRECTIVES)} directives")
    for index, name in enumerate(names):
        if not isinstance(name, str) or name not in _DIRECTIVES or name in names[:index]:
            rule = f"each once, one of {', '.join(_DIRECTIVES)}"
            raise ProtocolRefusedError(f"takes[{index}]", name, rule)
    return frozenset(_DIRECTIVES[name] for name in names)


_DIRECTIVES = {str(action): action for action in LadderAction if action in DIRECTIVES}


def _hello(body: _Body) -> Hello:
    protocol = body.pop("protocol", None)
    if type(protocol) is not int or protocol != PROTOCOL:
        raise ProtocolRefusedError("protocol", protocol, f"this agent speaks {PROTOCOL}")
    session = _matching(body, "session", _SESSION, "32 lower-case hexadecimal digits")
    return Hello(session, _text(body, "client", 64), _takes(body))


def _histogram(field: str, pairs: Any) -> dict[int, int]:
    if not isinstance(pairs, list) or len(pairs) > MOST_BUCKET + 1:
        raise ProtocolRefusedError(field, pairs, f"a list of at most {MOST_BUCKET + 1} pairs")
    counts: dict[int, int] = {}
    least = 0
    for index, pair in enumerate(pairs):
        if not isinstance(pair, list) or len(pair) != 2:
            raise ProtocolRefusedError(f"{field}[{index}]", pair, "a pair of bucket and count")
        bucket = _integer(f"{field}[{index}][0]", pair[0], least, MOST_BUCKET)
        counts[bucket] = _integer(f"{field}[{index}][1]", pair[1], 1, MOST_COUNT)
        least = bucket + 1
    return counts


def _told(body: _Body) -> Told:
    latency = {}
    for name, pairs in _members(body, "latency", MOST_SOURCES).items():
        latency[name] = _histogram(_named("latency", name) if name else 'latency[""]', pairs)
    gauges = {}
    for name, value in _members(body, "gauges", len(GAUGES)).items():
        if name not in GAUGES:
            raise ProtocolRefusedError("gauges", name, f"one of {', '.join(GAUGES)}")
        gauges[GAUGES[name]] = _integer(f"gauges.{name}", value, 0, 10_000 if name == Metric.UP else None)
    objective = {}
    for name, value in _members(body, "objective", MOST_OBJECTIVES).items():
        objective[name] = _integer(_named("objective", name), value, -(2**53))
    return Told(
        seq=_integer("seq", body.pop("seq", None), 1),
        span=_integer("span", body.pop("span", None), 0, MOST_SPAN),
        latency=latency,
        gauges=gauges,
        objective=objective,
        lost=_integer("lost", body.pop("lost", 0), 0),
    )


def _ran(body: _Body) -> Ran:
    facts = body.pop("facts", None)
    if not isinstance(facts, dict) or len(facts) > MOST_FACTS:
        raise ProtocolRefusedError("facts", facts, f"an object of at most {MOST_FACTS} members")
    for name, value in facts.items():
        field = _named("facts", name)
        if not isinstance(value, str) or len(value) > MOST_TEXT:
            raise ProtocolRefusedError(field, value, f"text of at most {MOST_TEXT} characters")
    seq = _integer("seq", body.pop("seq", None), 1)
    return Ran(seq, facts, _matching(body, "result", _RESULT, "64 lower-case hexadecimal digits"))


def _answered(body: _Body) -> Answered:
    answer = body.pop("answer", None)
    if not isinstance(answer, str) or answer not in _ANSWERS:
        raise ProtocolRefusedError("answer", answer, f"one of {', '.join(_ANSWERS)}")
    return Answered(_text(body, "id", MOST_TEXT, 1), _ANSWERS[answer], _text(body, "reason", MOST_TEXT))


_ANSWERS = {str(answer): answer for answer in Answer}
_KINDS: Final[Mapping[str, Callable[[_Body], Message]]] = {
    "hello": _hello,
    "takes": lambda body: Takes(_takes(body)),
    "report": _told,
    "run": _ran,
    "answer": _answered,
}
