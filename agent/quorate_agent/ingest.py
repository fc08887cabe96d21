"""The operator's `/ingest`, as the agent speaks it: the node's key, the spool, reports, requests to evict.

Who speaks is told by the ServiceAccount token, which is bound to pod and node. Answers mean: 2xx taken, 429 not now
(a disruption budget, or the fleet's breaker), 503 the operator cannot record it now; anything else is a failure.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from quorate.canonical import canonical_bytes
from quorate.missions.decisions import Decision
from quorate.missions.samples import Outcome
from quorate_agent.ports import Done

_log = logging.getLogger("quorate_agent.ingest")
_BREAKER = "Breaker"


class Ingest:
    """A client; `online` is whether the last request was answered by an operator that can record."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self.online = False

    async def register(self, node: str, source: str, public_key: str) -> bool:
        """Tell the node's key; True when the operator has recorded it."""
        body = {"node": node, "source": source, "publicKey": public_key}
        answer = await self._post("/ingest/key", canonical_bytes(body))
        return answer is not None and answer.is_success

    async def hand_in(self, lines: Sequence[bytes]) -> int | None:
        """Hand in spooled entries; the sequence up to which the operator has them, None where it did not say."""
        answer = await self._post("/ingest/spool", b"".join(line + b"\n" for line in lines))
        found = _json(answer).get("acknowledged") if answer is not None and answer.is_success else None
        return found if type(found) is int else None

    async def report(self, body: Mapping[str, Any]) -> bool:
        """What the node governs now; the last one counts, so that a lost one does not matter."""
        answer = await self._post("/ingest/report", canonical_bytes(dict(body)))
        return answer is not None and answer.is_success

    async def act(self, decision: Decision) -> Done:
        """Ask for an eviction; asked again with the same id it is not done twice."""
        namespace, _, name = decision.subject.partition("/")
        body = {
            "decision": decision.id, "attempt": decision.attempt, "namespace": namespace, "name": name,
            "uid": decision.uid, "policy": decision.policy, "rule": str(decision.rule or ""),
        }  # fmt: skip
        answer = await self._post("/ingest/evict", canonical_bytes(body))
        if answer is None:
            return Done(Outcome.UNAVAILABLE, message="nobody answered")
        message = str(_json(answer).get("message", ""))[:256]
        return Done(_outcome(answer), message=message)

    async def _post(self, path: str, body: bytes) -> httpx.Response | None:
        try:
            answer = await self._http.post(path, content=body, headers={"Content-Type": "application/json"})
        except (httpx.HTTPError, OSError) as error:
            _log.info("%s: %s", path, str(error) or type(error).__name__)
            self.online = False
            return None
        self.online = answer.status_code not in (502, 503, 504)
        if answer.is_error:
            _log.warning("%s: %d %s", path, answer.status_code, answer.text[:256])
        return answer


def _outcome(answer: httpx.Response) -> Outcome:
    if answer.is_success:
        return Outcome.DONE
    if answer.status_code == 429:
        return Outcome.BREAKER if _json(answer).get("reason") == _BREAKER else Outcome.REFUSED
    if answer.status_code in (502, 503, 504):
        return Outcome.UNAVAILABLE
    return Outcome.FAILED


def _json(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
