"""The schedule of archiving: what is asked of the process that prunes, and what is shown of it."""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from quorate.identity.vkey import SignerKey, VerifierKey
from quorate_operator.config import ConfigError, parse
from quorate_operator.custody.archiving import Request
from quorate_operator.custody.retention import Archived, Retention
from quorate_operator.errors import OperatorError, Stalled
from quorate_operator.http import metrics

CHAIN, DAY = "mesh/acme", 86_400
KEY = SignerKey(CHAIN, bytes(range(32))).verifier


class Fixture:
    """A schedule whose process answers from a list."""

    def __init__(self, spec: Mapping[str, Any], answers: Iterable[Mapping[str, Any] | OperatorError] = ()) -> None:
        self.asked: list[Request] = []
        self.requests: asyncio.Queue[Request] = asyncio.Queue()
        self.turned = asyncio.Event()
        self.told: list[str] = []
        self.results: dict[str, Archived] = {}
        self.answers = list(answers)
        self.ahead: int | None = 2
        self.objects: list[dict[str, Any]] = [{"spec": {"chain": CHAIN, **spec}, "status": {}}]
        self.retention = Retention(
            self._run,
            objects=lambda: self.objects,
            archives={"cold": Path("/cold")},
            log_keys=Path("/keys"),
            keys=self._keys,
            witnesses=self._witnesses,
            results=self.results,
            told=self.told.append,
            clock=lambda: 1000.0 * DAY,
            actor="hub",
            ahead=self._ahead,
        )

    async def _run(self, request: Request) -> Mapping[str, Any]:
        self.asked.append(request)
        self.requests.put_nowait(request)
        answer = self.answers.pop(0)
        if isinstance(answer, OperatorError):
            raise answer
        return answer

    async def _keys(self, chains: Iterable[str]) -> dict[str, list[VerifierKey]]:
        return {chain: [KEY] for chain in chains}

    async def _witnesses(self, chain: str) -> Mapping[VerifierKey, str]:
        return {KEY: chain}

    async def _ahead(self) -> int | None:
        self.turned.set()
        return self.ahead

    def shown(self) -> None:
        """As the reconciler does."""
        self.objects[0]["status"]["archived"] = self.results[CHAIN].document()


async def test_what_is_due_is_asked_for() -> None:
    """Age, archive, signatures and witnesses as the object says; the request survives its way to the process."""
    wanted = {"archive": {"name": "cold", "afterDays": 30}, "requireWitnesses": 2}
    fixture = Fixture(wanted, [{"archived": 512, "pruned": True}])
    await fixture.retention.turn()
    (request,) = fixture.asked
    assert (request.chain, request.before, request.name) == (CHAIN, 970 * DAY * 1_000_000, "cold")
    assert (request.place, request.log_keys, request.actor) == ("/cold", "/keys", "hub")
    assert request.rules.keys == (KEY,) and request.rules.witnesses == {KEY: CHAIN}
    assert request.rules.require_witnesses == 2
    given = request.document()
    assert Request(**{**given, "keys": tuple(given["keys"])}) == request
    assert fixture.results[CHAIN].document() == {"name": "cold", "size": 512}
    assert fixture.told == [CHAIN]


async def test_nothing_is_said_twice() -> None:
    """The object is looked at again only when the result changed; without spec.archive nothing happens."""
    same = {"archived": 512, "pruned": False}
    fixture = Fixture({"archive": {"name": "cold"}}, [same, same])
    await fixture.retention.turn()
    fixture.shown()
    await fixture.retention.turn()
    assert fixture.told == [CHAIN]
    assert fixture.asked[0].before == 600 * DAY * 1_000_000
    quiet = Fixture({})
    await quiet.retention.turn()
    assert quiet.asked == [] and quiet.results == {}


@pytest.mark.parametrize(
    ("spec", "answers", "said"),
    [
        ({"archive": {"name": "other"}}, [], "--archives other=DIR"),
        ({"archive": {"name": "cold"}}, [Stalled("PruneRefused", "the chain is in quarantine")], "quarantine"),
    ],
)
async def test_why_it_does_not_go_on(spec: Mapping[str, Any], answers: list[Any], said: str) -> None:
    """What failed is shown with how far it is, and tried again at the next turn."""
    fixture = Fixture(spec, answers)
    fixture.objects[0]["status"] = {"archived": {"name": spec["archive"]["name"], "size": 256}}
    await fixture.retention.turn()
    assert fixture.results[CHAIN].size == 256 and said in fixture.results[CHAIN].message


async def test_what_is_asked_anew_does_not_wait_for_a_turn() -> None:
    """An object that comes, also the first ones after a start, or that changes is looked at within seconds."""
    answer = {"archived": 0, "pruned": False}
    fixture = Fixture({"archive": {"name": "cold"}}, [answer, answer])
    asking, fixture.objects = fixture.objects, []
    running = asyncio.create_task(fixture.retention.run(3600))
    async with asyncio.timeout(20):
        await fixture.turned.wait()
        fixture.objects = asking
        first = await fixture.requests.get()
        fixture.objects = [{"spec": {"chain": CHAIN, "archive": {"name": "cold", "afterDays": 7}}, "status": {}}]
        second = await fixture.requests.get()
    running.cancel()
    assert [request.before // (DAY * 1_000_000) for request in (first, second)] == [600, 993]


async def test_partitions_ahead() -> None:
    """Their number is a metric."""
    fixture = Fixture({})
    fixture.ahead = 0
    await fixture.retention.turn()
    assert metrics.PARTITIONS_AHEAD._value.get() == 0


def test_configuration() -> None:
    """Archives come from flags and from the variable; a malformed or doubled one is refused."""
    base = ["--node-id", "0b0f6a3c-2f5a-4f0b-8f2d-7c1e5a9d0001", "--dsn", "x"]
    config = parse([*base, "--archives", "b=/b"], {"QUORATE_ARCHIVES": "a=/a"})
    assert config.archives == {"a": Path("/a"), "b": Path("/b")}
    for wrong in ("cold", "=x", "A=/x", "a="):
        with pytest.raises(ConfigError, match="--archives"):
            parse([*base, "--archives", wrong], {})
    with pytest.raises(ConfigError, match="already"):
        parse([*base, "--archives", "a=/a", "--archives", "a=/b"], {})
