"""The agent's parser: what the page says, and nothing else (docs/mission-protocol.md)."""

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.api.mission_policy import LadderAction
from quorate.missions import protocol
from quorate.missions.latency import MOST_BUCKET, bucket_of
from quorate.missions.protocol import Answered, Directive, Frames, Hello, ProtocolRefusedError, Ran, Takes, Told, parse
from quorate.missions.samples import Answer, Metric
from quorate_mission import ACTIONS, _ledger, _wire

PAGE = (Path(__file__).resolve().parents[3] / "docs/mission-protocol.md").read_text(encoding="utf-8")
SENT, CAME = (block.splitlines() for block in re.findall(r"<!-- example -->\n```json\n(.*?)\n```", PAGE, re.DOTALL))
REPORT: dict[str, Any] = {"type": "report", "seq": 1, "span": 1000}
RUN: dict[str, Any] = {"type": "run", "seq": 2, "facts": {"seed": "7"}, "result": "0" * 64}
ANSWER: dict[str, Any] = {"type": "answer", "id": "d", "answer": "Done", "reason": ""}
HELLO: dict[str, Any] = {"type": "hello", "protocol": 1, "session": "0" * 32, "client": "c", "takes": []}


def test_the_pages_examples() -> None:
    """Each message of the page is understood as the page says."""
    hello, report, run, answer = (parse(line.encode()) for line in SENT)
    takes = frozenset({LadderAction.FREE_MEMORY, LadderAction.CHECKPOINT})
    assert hello == Hello("00112233445566778899aabbccddeeff", "quorate-mission/0.1.0", takes)
    assert report == Told(1, 1_000_000, {"": {111: 40, 147: 1}}, {Metric.ITERATION: 12}, {"loss": 310_000}, 0)
    assert run == Ran(
        2, {"seed": "7", "torch": "2.9"}, "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    )
    assert answer == Answered("u1/memory-cap/memory/1", Answer.DONE, "")
    assert parse(b'{"type":"takes","takes":["RollBack"]}') == Takes(frozenset({LadderAction.ROLL_BACK}))
    assert f"`00 00 00 {len(SENT[0]):02x}` ({len(SENT[0])} bytes" in PAGE


def test_the_pages_answers() -> None:
    """What the agent sends has the bytes that the page shows."""
    directive = Directive("u1/memory-cap/memory/1", LadderAction.FREE_MEMORY, 30_000_000, "memory-cap", "memory",
                          {"limit": 21_474_836_480})  # fmt: skip
    with pytest.raises(ProtocolRefusedError) as refusal:
        parse(json.dumps(REPORT | {"latency": {"": [[1, -1]]}}).encode())
    frames = [
        protocol.welcome(1_000_000),
        protocol.received(Told(1, 0, {}, {}, {}, 0)),
        protocol.directed(directive),
        protocol.refused(refusal.value),
    ]
    assert [Frames().feed(frame)[0].decode() for frame in frames] == CAME


def test_the_pages_buckets() -> None:
    """The table of buckets is that of the code, on both ends."""
    rows = re.search(r"\| µs \|(.*)\|\n\|.*\n\| bucket \|(.*)\|", PAGE)
    assert rows is not None
    values, buckets = ([int(cell) for cell in row.split("|")] for row in rows.groups())
    assert [bucket_of(value) for value in values] == buckets
    assert [_ledger.bucket_of(value) for value in values] == buckets
    assert MOST_BUCKET + 1 == _ledger.BUCKETS


@given(st.integers(0, 2**40))
def test_both_ends_have_the_same_buckets(value: int) -> None:
    """A latency falls into the same bucket for workload and agent."""
    assert _ledger.bucket_of(value) == bucket_of(value)


def test_both_ends_have_the_same_bounds() -> None:
    """The workload keeps the bounds that the agent checks."""
    for name in (
        "PROTOCOL",
        "MOST_BYTES",
        "MOST_SPAN",
        "MOST_COUNT",
        "MOST_SOURCES",
        "MOST_OBJECTIVES",
        "MOST_FACTS",
        "MOST_TEXT",
    ):
        assert getattr(_wire, name) == getattr(protocol, name)
    assert set(ACTIONS) == {str(action) for action in protocol.DIRECTIVES}


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (b"", "frame '': not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"[]", "frame '[]': a message is an object"),
        (b"\xff", "frame '\ufffd': not JSON: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (b"[" * 2_000, "nested deeper than"),
        (b'{"type":"report","seq":1,"seq":2,"span":0}', "object name 'seq' occurs twice"),
        ({"type": "report"}, "seq 'None': an integer from 1"),
        ({}, "type 'None': one of hello, takes, report, run, answer"),
        ({"type": ["hello"]}, "type \"['hello']\": one of"),
        (HELLO | {"protocol": 2}, "protocol '2': this agent speaks 1"),
        (HELLO | {"protocol": True}, "protocol 'True': this agent speaks 1"),
        (HELLO | {"session": "0" * 31}, f"session '{'0' * 31}': 32 lower-case hexadecimal digits"),
        (HELLO | {"client": "c" * 65}, f"client '{'c' * 64}': text of 0 to 64 characters"),
        (HELLO | {"takes": ["Evict"]}, "takes[0] 'Evict': each once, one of FreeMemory, "),
        (HELLO | {"takes": ["RollBack", "RollBack"]}, "takes[1] 'RollBack': each once"),
        (HELLO | {"takes": [[]]}, "takes[0] '[]': each once"),
        (HELLO | {"takes": None}, "takes 'None': a list of at most 7 directives"),
        (HELLO | {"pid": 1}, "pid '1': hello has no such member"),
        (REPORT | {"seq": 0}, "seq '0': an integer from 1"),
        (REPORT | {"seq": "1"}, "seq '1': an integer from 1"),
        (REPORT | {"span": -1}, "span '-1': an integer from 0 to 10000000"),
        (REPORT | {"span": 10_000_001}, "span '10000001': an integer from 0 to 10000000"),
        (REPORT | {"at": 5}, "at '5': report has no such member"),
        (b'{"type":"report","seq":1,"span":0,"objective":{"loss":NaN}}', "NaN is a floating-point number"),
        (b'{"type":"report","seq":1,"span":0,"objective":{"loss":-Infinity}}', "-Infinity is a floating-point number"),
        (b'{"type":"report","seq":1,"span":0,"latency":{"":[[1e300,1]]}}', "1e300 is a floating-point number"),
        (REPORT | {"objective": {"loss": 2**53}}, "outside ±(2^53-1)"),
        (REPORT | {"objective": {"loss": None}}, "objective[\"loss\"] 'None': an integer"),
        (REPORT | {"objective": {'a"b': 1}}, "objective 'a\"b': a name is 1 to 64 printable ASCII characters"),
        (REPORT | {"objective": {"": 1}}, "objective '': a name is 1 to 64"),
        (REPORT | {"objective": {str(n): 1 for n in range(17)}}, "an object of at most 16 members"),
        (REPORT | {"latency": {"a": [[464, 1]]}}, "latency[\"a\"][0][0] '464': an integer from 0 to 463"),
        (REPORT | {"latency": {"": [[-1, 1]]}}, "latency[\"\"][0][0] '-1': an integer from 0 to 463"),
        (REPORT | {"latency": {"": [[5, 1], [5, 1]]}}, "latency[\"\"][1][0] '5': an integer from 6 to 463"),
        (REPORT | {"latency": {"": [[5, 0]]}}, "latency[\"\"][0][1] '0': an integer from 1 to 1000000000"),
        (REPORT | {"latency": {"": [[5, 10**9 + 1]]}}, "[0][1] '1000000001': an integer from 1 to 1000000000"),
        (REPORT | {"latency": {"": [5]}}, "latency[\"\"][0] '5': a pair of bucket and count"),
        (REPORT | {"latency": {"": {}}}, "latency[\"\"] '{}': a list of at most 464 pairs"),
        (REPORT | {"latency": {str(n): [] for n in range(5)}}, "an object of at most 4 members"),
        (REPORT | {"latency": []}, "latency '[]': an object of at most 4 members"),
        (REPORT | {"gauges": {"Objective": 1}}, "gauges 'Objective': one of Iteration, Entropy, Epsilon, Delta, Up"),
        (REPORT | {"gauges": {"Epsilon": -1}}, "gauges.Epsilon '-1': an integer from 0"),
        (REPORT | {"gauges": {"Up": 10_001}}, "gauges.Up '10001': an integer from 0 to 10000"),
        (REPORT | {"gauges": {"Iteration": True}}, "gauges.Iteration 'True': an integer from 0"),
        (REPORT | {"lost": -1}, "lost '-1': an integer from 0"),
        (RUN | {"facts": {"seed": 7}}, "facts[\"seed\"] '7': text of at most 256 characters"),
        (RUN | {"facts": {str(n): "" for n in range(33)}}, "an object of at most 32 members"),
        (RUN | {"result": "A" * 64}, "64 lower-case hexadecimal digits"),
        (ANSWER | {"answer": "Maybe"}, "answer 'Maybe': one of Done, Refused, Failed"),
        (ANSWER | {"id": ""}, "id '': text of 1 to 256 characters"),
        (ANSWER | {"reason": "r" * 257}, "text of 0 to 256 characters"),
    ],
)  # fmt: skip
def test_what_is_refused(message: Any, sentence: str) -> None:
    """A message that cannot be is refused with field, value and rule, and the refusal can be sent."""
    frame = message if isinstance(message, bytes) else json.dumps(message).encode()
    with pytest.raises(ProtocolRefusedError) as refusal:
        parse(frame)
    assert sentence in str(refusal.value)
    assert len(refusal.value.value) <= 64
    assert json.loads(protocol.refused(refusal.value)[4:])["type"] == "refused"


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    """No bytes make the parser fail in another way."""
    with contextlib.suppress(ProtocolRefusedError):
        parse(data)


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["type", "seq", "span", "latency", "gauges", "objective", "facts", "result", "takes", "id", "answer", ""]),
        inner, max_size=6), max_leaves=20), st.sampled_from(["hello", "takes", "report", "run", "answer"]))  # fmt: skip
def test_any_json_is_a_message_or_refused(found: Any, kind: str) -> None:
    """No JSON makes the parser fail in another way."""
    message = found | {"type": kind} if isinstance(found, dict) else found
    try:
        parse(json.dumps(message).encode())
    except ProtocolRefusedError as refusal:
        protocol.refused(refusal)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.integers(1, 50))
def test_frames_come_out_as_they_went_in(payloads: list[bytes], step: int) -> None:
    """However the bytes are cut, the frames are the same, on both ends."""
    data = b"".join(len(payload).to_bytes(4, "big") + payload for payload in payloads)
    frames = Frames()
    assert [frame for at in range(0, len(data), step) for frame in frames.feed(data[at : at + step])] == payloads
    assert not frames.begun
    sent = b"".join(_wire.framed({"n": number}) for number in range(len(payloads)))
    own = _wire.Frames()
    read = [message for at in range(0, len(sent), step) for message in own.feed(sent[at : at + step])]
    assert read == [{"n": number} for number in range(len(payloads))]


@pytest.mark.parametrize("size", [0, 65_537, 2**32 - 1])
def test_a_length_that_cannot_be(size: int) -> None:
    """A frame of no bytes or too many is refused before its bytes are kept."""
    with pytest.raises(ProtocolRefusedError, match="a frame is 1 to 65536 bytes long"):
        Frames().feed(size.to_bytes(4, "big"))
    with pytest.raises(_wire.WireError):
        _wire.Frames().feed(size.to_bytes(4, "big"))
