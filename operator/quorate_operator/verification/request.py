"""What a verification is asked, and what it answers; both travel as JSON between the operator and its subprocess.

The operator starts `python -m quorate_operator.verification` with the DSN in `QUORATE_DSN`, writes what
`request_document` says to its standard input and reads `Report.document` from its standard output. Exit codes are those
of `quorate audit verify`: 0 intact, 4 tampered, 5 unanchored, 6 cannot tell; 3 when the database cannot be read, with
{"error": sentence}.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quorate.audit.verify import ChainReport, Verdict, combine

Obj = dict[str, Any]
EXIT = {Verdict.INTACT: 0, Verdict.TAMPERED: 4, Verdict.UNANCHORED: 5, Verdict.CANNOT_TELL: 6}
UNREACHABLE = 3


@dataclass(frozen=True)
class ChainRequest:
    """One chain to verify.

    `keys` are verifier keys of the chain's log, `anchors` signed checkpoints that were kept outside the database.
    `since` restricts the work to what came later: a signed checkpoint (text), or a size, for which the database's own
    signed checkpoint of the largest size not beyond it is used; None verifies everything. `witnesses` are verifier
    keys whose cosignatures count; a checkpoint with fewer than `require_witnesses` of them is no anchor.
    """

    chain_id: str
    keys: tuple[str, ...] = ()
    anchors: tuple[str, ...] = ()
    since: str | int | None = None
    witnesses: tuple[str, ...] = ()
    require_witnesses: int = 0


@dataclass(frozen=True)
class Report:
    """The result over all chains; `seconds` is wall time."""

    chains: tuple[ChainReport, ...]
    seconds: float

    @property
    def verdict(self) -> Verdict:
        """The worst of all chains."""
        return combine(self.chains)

    def document(self) -> Obj:
        """JSON: {verdict, checked, seconds, entriesPerSecond, chains[]}, documented in docs/verification.md."""
        checked = sum(report.checked for report in self.chains)
        return {
            "verdict": self.verdict.value,
            "checked": checked,
            "seconds": round(self.seconds, 3),
            "entriesPerSecond": round(checked / self.seconds) if self.seconds > 0 else 0,
            "chains": [chain_document(report) for report in self.chains],
        }


def chain_document(report: ChainReport) -> Obj:
    """One chain of the result."""
    fault = None if report.fault is None else vars(report.fault)
    return {
        "chain": report.chain_id,
        "verdict": report.verdict.value,
        **{_camel(name): value for name, value in vars(report).items() if name not in ("chain_id", "fault")},
        **({} if fault is None else {"fault": {_camel(name): value for name, value in fault.items()}}),
    }


def request_document(requests: Sequence[ChainRequest], *, workers: int = 1) -> Obj:
    """The JSON of a request: {workers, chains: [{chainId, keys, anchors, since, witnesses, requireWitnesses}]}."""
    chains = [
        {_camel(name): list(value) if isinstance(value, tuple) else value for name, value in vars(request).items()}
        for request in requests
    ]
    return {"workers": workers, "chains": chains}


def parse_request(document: Mapping[str, Any]) -> tuple[list[ChainRequest], int]:
    """The inverse of `request_document`: requests and number of workers."""
    requests = [
        ChainRequest(
            item["chainId"],
            tuple(item.get("keys", ())),
            tuple(item.get("anchors", ())),
            item.get("since"),
            tuple(item.get("witnesses", ())),
            item.get("requireWitnesses", 0),
        )
        for item in document["chains"]
    ]
    return requests, int(document.get("workers", 1))


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)
