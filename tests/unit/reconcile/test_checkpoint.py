"""AuditCheckpoint: what it shows of signature, verification, witnesses and quarantine, and what it keeps."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quorate.audit.checkpoint import Checkpoint
from quorate.audit.quarantine import Cause, Finding, Quarantine
from quorate.audit.verify import StoredHead
from quorate.identity.vkey import SignerKey
from quorate_operator.config import Config
from quorate_operator.custody.outside import told_by_files, told_by_objects
from quorate_operator.custody.verified import Verified
from quorate_operator.kube.resources import Key, Obj
from quorate_operator.reconcile.checkpoint import AuditCheckpoints, Gathered, manifest
from quorate_operator.reconcile.cosignatures import Witnessed
from quorate_operator.reconcile.domains import Domains
from quorate_operator.reconcile.protocol import Context
from quorate_operator.store.files import LocalFiles
from quorate_operator.store.memory import MemoryStore
from quorate_operator.view import View
from tests.contract.test_log import draft
from tests.contract.test_quarantine import resumption

CHAIN = "mesh/acme"
SIGNER = SignerKey(CHAIN, bytes(range(32)))
NOTE = Checkpoint(CHAIN, 3, bytes(32)).sign(SIGNER)
HEAD = StoredHead(CHAIN, 0, 3, bytes(32), b"")
GOOD = Verified("Intact", "every entry was verified", 3, 5, 1_000, 1_000, 1)
STOPPED = Quarantine(CHAIN, 1, Cause.DATABASE_BEHIND, "behind", 1_000_000_000, 0, 3, bytes(32))


def obj(status: Obj | None = None, **spec: Any) -> Obj:
    """An AuditCheckpoint."""
    made = manifest(CHAIN)
    made["metadata"] |= {"generation": 1, "uid": "u", "resourceVersion": "1"}
    return {**made, "spec": {**made["spec"], **spec}, **({} if status is None else {"status": status})}


def decide(gathered: Gathered) -> Obj:
    """The wanted status."""
    status = AuditCheckpoints(Domains()).decide(gathered, 2_000).status
    assert status is not None
    return dict(status)


def ready(status: Obj) -> tuple[str, str]:
    found = {item["type"]: item for item in status["conditions"]}
    return found["Ready"]["status"], found["Ready"]["reason"]


def gathered(note: str | None = NOTE, witnesses: int = 0, result: Verified | None = GOOD, **spec: Any) -> Gathered:
    return Gathered(obj(**spec), HEAD, (), result, None, Witnessed(note, witnesses=witnesses))


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (gathered(), ("True", "Ready")),
        (gathered(note=None), ("False", "Waiting")),
        (gathered(result=None), ("False", "NotVerified")),
        (gathered(result=None, verify="None"), ("True", "Ready")),
        (gathered(result=replace(GOOD, verdict="Tampered")), ("False", "VerificationFailed")),
        (gathered(result=replace(GOOD, verdict="CannotTell")), ("True", "Ready")),
        (gathered(result=replace(GOOD, verdict="CannotTell", at=None)), ("False", "NotVerified")),
        (gathered(requireWitnesses=2, witnesses=1), ("False", "WitnessesMissing")),
        (gathered(requireWitnesses=2, witnesses=2), ("True", "Ready")),
        (replace(gathered(), quarantines=(STOPPED,)), ("False", "ChainQuarantined")),
        (replace(gathered(note=None), quarantines=(STOPPED,)), ("False", "ChainQuarantined")),
        (replace(gathered(), quarantines=(replace(STOPPED, resumed_at=5),)), ("True", "Ready")),
    ],
)
def test_ready(case: Gathered, expected: tuple[str, str]) -> None:
    """Signed, verified as wanted, cosigned by enough, and not stopped: in this order the first that is missing."""
    assert ready(decide(case)) == expected


def test_what_is_shown() -> None:
    """The result with its times, and the quarantine with the terms that are signed to end it."""
    status = decide(replace(gathered(), quarantines=(STOPPED,), refused="the head moved"))
    assert status["quarantine"] == {
        "number": 1, "cause": "DatabaseBehind", "message": "behind", "raisedAt": "1970-01-01T00:16:40Z", "epoch": 0,
        "size": 3, "head": "sha256:" + "00" * 32,
    }  # fmt: skip
    assert (status["result"], status["verifiedSize"], status["verifiedAt"]) == ("Intact", 3, "1970-01-01T00:16:40Z")
    assert status["conditions"][0]["message"].endswith("; the head moved")
    after = decide(replace(gathered(), obj=obj(status)))
    assert "quarantine" not in after


@pytest.fixture
async def store() -> MemoryStore:
    """A chain of two entries, signed."""
    made = MemoryStore()
    await made.take("test")
    await made.log.append(CHAIN, [draft("a"), draft("b")])
    await made.log.checkpoint(CHAIN, SIGNER)
    return made


@pytest.fixture
def context(store: MemoryStore, tmp_path: Path) -> Context:
    """With the log's key."""
    (tmp_path / "acme.key").write_text(SIGNER.encode())
    config = Config(node_id="", dsn="", log_keys=tmp_path)
    return Context(View(), None, store.log, store.content, config, lambda: 2_000.0)  # type: ignore[arg-type]


async def shown(context: Context, note: str) -> int:
    """The size in the status after a look at an object that shows `note`."""
    key = Key("AuditCheckpoint", "", "acme")
    context.view.remove(key)
    context.view.fold(obj({"note": note, "size": 9}))
    reconciler = AuditCheckpoints(Domains())
    return int(decide((await reconciler.gather([key], context))[key])["size"])


async def test_a_lost_checkpoint_stays_shown(context: Context, store: MemoryStore) -> None:
    """What the log signed and the database lacks is not overwritten, until the log signed that it was given up."""
    ahead = Checkpoint(CHAIN, 9, bytes(32))
    assert await shown(context, ahead.sign(SIGNER)) == 9
    raised = await store.log.stop(CHAIN, Finding(Cause.DATABASE_BEHIND, "behind"))
    assert raised is not None
    await store.log.resume(raised, resumption(raised, ahead))
    assert await shown(context, ahead.sign(SIGNER)) == 9
    await store.log.checkpoint(CHAIN, SIGNER)
    assert await shown(context, ahead.sign(SIGNER)) == 3


async def test_a_contradicting_checkpoint_stays_shown_while_the_chain_is_stopped(
    context: Context, store: MemoryStore
) -> None:
    """A smaller one of another history is evidence as long as the quarantine is open."""
    other = Checkpoint(CHAIN, 1, bytes(32)).sign(SIGNER)
    assert await shown(context, other) == 2
    await store.log.stop(CHAIN, Finding(Cause.OTHER_HISTORY, "other"))
    assert await shown(context, other) == 9


async def test_a_strangers_note_does_not_stay(context: Context) -> None:
    """Whoever may write the status cannot hold it: what no key of the log signed is replaced."""
    assert await shown(context, Checkpoint(CHAIN, 9, bytes(32)).sign(SignerKey(CHAIN, bytes(32)))) == 2
    assert await shown(context, "no note") == 2


def test_where_notes_are_found(tmp_path: Path) -> None:
    """In AuditCheckpoints that show one, and in every log of a publication."""
    (told,) = told_by_objects([obj({"note": NOTE}), obj({}), obj()])
    assert (told.chain, told.note) == (CHAIN, NOTE)
    place = tmp_path / "mesh" / "acme"
    place.mkdir(parents=True)
    (place / "checkpoint").write_text(NOTE)
    (tmp_path / "mesh" / "empty").mkdir()
    (found,) = told_by_files(LocalFiles(tmp_path), str(tmp_path))
    assert (found.chain, found.note) == (CHAIN, NOTE)


def test_a_domain_that_is_named_system() -> None:
    """Its AuditCheckpoint has another name than that of chain `system`."""
    names = [manifest(chain)["metadata"]["name"] for chain in ("system", "mesh/system", "mesh/acme")]
    assert names == ["system", "domain-system", "acme"]
