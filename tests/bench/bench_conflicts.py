"""The conflict check of a new proposal among a thousand open ones (docs/conflicts.md, 1)."""

import time
from collections.abc import Callable, Iterator
from functools import partial

from quorate.canonical import digest_of
from quorate.conflicts.detect import target_key
from quorate_operator.kube.resources import Obj
from quorate_operator.reconcile.proposal import rivals_told
from quorate_operator.reconcile.proposal_opening import rivals
from quorate_operator.view import View
from tests.bench.figure import Figure, percentile

OPEN, CLAUSES, CHECKS = 1000, 100, 2000


def run() -> Iterator[Figure]:
    """p99 of the check: spread over the clauses of ten contracts, and all on one clause."""
    for where, clauses in (("1000 clauses", OPEN), ("one clause", 1)):
        view = _view(clauses)
        new = _proposal(OPEN, clauses)
        view.fold(new)
        checked = _times(partial(_check, new, view))
        scanned = _times(partial(_scan, new, view))
        yield Figure(
            f"conflict check of a new proposal against {OPEN} open ones on {where}, p99",
            percentile(checked, 99),
            "ms",
            "the same by comparing with each, p99",
            percentile(scanned, 99),
            0.5,
        )


def _times(check: Callable[[], object]) -> list[float]:
    found = []
    for _ in range(CHECKS):
        start = time.perf_counter()
        check()
        found.append((time.perf_counter() - start) * 1000)
    return found


def _check(new: Obj, view: View) -> object:
    """What an opening looks for: whom it is warned of, and whom it has to warn."""
    return rivals(new, view), rivals_told(new, view)


def _scan(new: Obj, view: View) -> list[Obj]:
    """What an index saves: a look at every open proposal."""
    wanted = target_key(new["spec"]["target"])
    return [
        item
        for item in view.all("GovernanceProposal")
        if item["status"]["phase"] == "Voting" and target_key(item["spec"]["target"]) == wanted
    ]


def _view(clauses: int) -> View:
    view = View()
    for number in range(OPEN):
        view.fold(_proposal(number, clauses))
    return view


def _proposal(number: int, clauses: int) -> Obj:
    """An open proposal; its warning is as full as it would be."""
    place = number % clauses
    target = {"kind": "DynamicContract", "name": f"rules-{place // CLAUSES}", "clause": str(place % CLAUSES)}
    named = [
        {"namespace": "default", "name": f"p{other:04}", "digest": digest_of(other)}
        for other in range(0 if clauses > 1 else min(number, 32))
    ]
    return {
        "apiVersion": "quorate.dev/v1alpha1",
        "kind": "GovernanceProposal",
        "metadata": {"name": f"p{number:04}", "namespace": "default", "uid": str(number), "resourceVersion": "1"},
        "spec": {"trustDomain": "fleet", "target": target},
        "status": {"phase": "Voting", "digest": digest_of(number), "conflicts": named},
    }
