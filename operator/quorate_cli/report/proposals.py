"""The report's section on proposals: what was asked, who voted how, what came of it, with every number."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from quorate_cli.audit.shown import Shown
from quorate_cli.report.forms import integer, mapping, mappings, word, words

Obj = dict[str, Any]
_ENDS = {"executed": "executed", "failed": "notExecuted", "superseded": "superseded"}
_MOST_ACTS = 200


class Proposals:
    """Collects the entries of proposals by their digest; `read` gives the JSON object of a digest, or nothing."""

    def __init__(self, read: Callable[[Any], Obj]) -> None:
        self._read = read
        self._found: dict[str, Obj] = {}
        self._inside: set[str] = set()

    def feed(self, shown: Shown, *, inside: bool) -> None:
        """Take an entry about a proposal, an act or a vote."""
        _, topic, verb = (*shown.event.split("."), "", "")[:3]
        if topic == "proposal":
            digest = str(shown.subject.get("key"))
            if verb != "refused":
                self._step(self._of(digest, shown), shown, verb)
        else:
            digest = next(iter(words(shown.payload.get("about"))), "")
            if digest not in self._found:
                return
            self._act(self._found[digest], shown, topic, verb)
        if inside and digest in self._found:
            self._inside.add(digest)

    def _of(self, digest: str, shown: Shown) -> Obj:
        if digest not in self._found:
            statement = self._read(digest)
            self._found[digest] = {
                "chain": shown.chain,
                "digest": digest,
                "namespace": word(shown.subject.get("namespace")),
                "name": word(shown.subject.get("name")),
                "type": word(statement.get("type")),
                "target": {name: str(value) for name, value in mapping(statement.get("target")).items()},
                "change": mapping(statement.get("change")) or None,
                "proposer": word(statement.get("proposer")),
                "domains": words(statement.get("domains")),
                "recordedVotes": 0,
                "refusedVotes": 0,
                "acts": [],
                "outcome": None,
                "reason": None,
                "steps": [],
            }
        return self._found[digest]

    def _step(self, proposal: Obj, shown: Shown, verb: str) -> None:
        detail = shown.detail
        proposal["steps"].append(
            {
                "event": shown.event,
                "at": shown.sealed,
                "chain": shown.chain,
                "sequence": shown.sequence,
                "entryId": str(shown.content.get("entry_id")),
            }
        )
        if verb == "opened":
            proposal["proposer"] = proposal["proposer"] or word(shown.content.get("actor_id"))
            proposal["openedAt"] = shown.sealed
            proposal["revisions"] = mapping(detail.get("revisions"))
        elif verb == "decided":
            proposal |= {name: word(detail.get(name)) for name in ("outcome", "reason", "decidedAt", "outcomeDigest")}
            outcome = self._read(proposal["outcomeDigest"])
            proposal["numbers"] = numbers(outcome) if outcome else None
        elif verb in _ENDS:
            proposal[_ENDS[verb]] = {"at": shown.sealed, **_plain(detail)}
            outcome = self._read(word(detail.get("outcomeDigest")))
            if outcome and verb == "superseded":  # a refusal has no numbers
                proposal["numbers"] = numbers(outcome)

    @staticmethod
    def _act(proposal: Obj, shown: Shown, topic: str, verb: str) -> None:
        if topic == "vote":
            proposal["recordedVotes" if verb == "accepted" else "refusedVotes"] += 1
            return
        act = word(mapping(shown.detail.get("statement")).get("act"))
        if len(proposal["acts"]) < _MOST_ACTS:
            proposal["acts"].append(
                {
                    "act": act,
                    "by": word(shown.content.get("actor_id")),
                    "at": shown.sealed,
                    "accepted": verb == "accepted",
                }
            )

    def document(self) -> Obj:
        """Proposals with an entry in the period, and how many had which outcome."""
        told = [proposal for digest, proposal in self._found.items() if digest in self._inside]
        outcomes = Counter(str(proposal["outcome"] or _open(proposal)) for proposal in told)
        return {"proposals": told, "outcomes": dict(sorted(outcomes.items()))}


def numbers(outcome: Mapping[str, Any]) -> Obj:
    """The numbers of an outcome document (docs/evidence.md), those of each domain below `domains`."""
    electorate = mapping(outcome.get("electorate"))
    votes = ("voter", "keyName", "choice", "reason", "time")
    return {
        "electorate": {
            "digest": word(electorate.get("digest")),
            "members": integer(electorate.get("members")),
            "totalWeight": integer(electorate.get("totalWeight")),
        },
        "rules": mapping(outcome.get("rules")),
        "sums": {name: integer(value) or 0 for name, value in mapping(outcome.get("sums")).items()},
        "tests": [_test(test) for test in mappings(outcome.get("tests"))],
        "votes": [
            {
                **{name: word(vote.get(name)) for name in votes},
                "weight": integer(vote.get("weight")),
                "counted": vote.get("counted") is True,
            }
            for vote in mappings(outcome.get("votes"))
        ],
        "domains": {name: numbers(mapping(part)) for name, part in mapping(outcome.get("domains")).items()},
    }


def _test(test: Mapping[str, Any]) -> Obj:
    """A test's sides are integers, or decimal strings where JSON cannot carry them."""
    sides = {side: value if isinstance(value := test.get(side), str) else integer(value) for side in ("left", "right")}
    return {"name": word(test.get("name")), **sides, "holds": test.get("holds") is True}


def _open(proposal: Obj) -> str:
    return "Superseded" if "superseded" in proposal else "Undecided"


def _plain(detail: Mapping[str, Any]) -> Obj:
    """A detail without its statements and signatures, which the log keeps."""
    return {name: value for name, value in detail.items() if isinstance(value, str | int) or value is None}
