"""`quorate witness`: cosign the checkpoints of a log after checking that it only grows (docs/witnesses.md)."""

import threading
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from quorate.audit.checkpoint import CheckpointError, parse_checkpoint
from quorate.audit.note import NoteError, parse_note
from quorate.audit.witness import Conflict, ConflictError, Cosign, Refuse, WitnessState, check_conflict
from quorate.audit.witness_form import MAX_CONFLICT_BYTES, FormError, parse_conflict
from quorate.canonical import encode_base64
from quorate.identity.ed25519 import KeyRefusedError
from quorate.identity.vkey import COSIGNATURE, SignerKey, parse_signer_key
from quorate_cli.audit.keyring import LogKeys, read_keys
from quorate_cli.cluster import Cluster
from quorate_cli.options import Kubeconfig, Output, Sandbox
from quorate_cli.output import BadInputError, CliError, Column, ExitCode, Format, emit, tell, warn
from quorate_cli.pins import Pins, parse_pins
from quorate_cli.place import connect
from quorate_cli.signers.keyfile import read_key_bytes
from quorate_cli.witness.attend import Round, Witness
from quorate_cli.witness.memory import Memory
from quorate_cli.witness.trust import Pinned
from quorate_cli.yamlfiles import of_kind, read_bytes, read_documents

app = typer.Typer(no_args_is_help=True, help="Cosign a log's checkpoints after checking that it only grows.")

State = Annotated[Path, typer.Option("--state", metavar="DIR", help="Folder of what the witness saw; keep it.")]


class ConflictFoundError(CliError):
    """The log showed two histories."""

    code = ExitCode.TAMPERED


def read_witness_key(file: str) -> SignerKey:
    """The C2SP private key in a file that only its owner can read; BadInputError for any other key."""
    try:
        key = parse_signer_key(read_key_bytes(Path(file)).decode(errors="replace"))
    except KeyRefusedError as error:
        raise BadInputError(f"--key {file}: {error}; make one with `quorate keygen --purpose witness`") from error
    if key.algorithm != COSIGNATURE:
        raise BadInputError(f"--key {file}: is a log's key (0x01), not a witness's (0x04)")
    return key


@app.command()
def run(
    node: Annotated[str, typer.Argument(help="Name of the MeshNode.")],
    domains: Annotated[list[str], typer.Option("--domain", metavar="NAME", help="A TrustDomain; repeatable.")],
    key: Annotated[str, typer.Option("--key", metavar="FILE", help="The Witness key (0600).")],
    state: State,
    pins: Pins = None,
    log_keys: LogKeys = None,
    files: Annotated[
        list[str] | None,
        typer.Option("--file", "-f", metavar="FILE", help="TrustDomain revisions that the cluster no longer shows."),
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option("--accept", metavar="DIGEST", help="A revision that a proposal or a recovery authorised."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="One round; fail if anything was not cosigned.")] = False,
    interval: Annotated[int, typer.Option("--interval", metavar="SECONDS", min=1, help="Between two rounds.")] = 10,
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Watch the logs of TrustDomains and cosign what continues what was seen before."""
    signer, memory = read_witness_key(key), Memory(state)
    documents, keys = of_kind(read_documents(files or ()), "TrustDomain"), read_keys(log_keys or ())
    logs = [Pinned(name, parse_pins(pins or ()), keys, documents, accept or ()) for name in domains]
    cluster = connect(kubeconfig, sandbox)
    witness = Witness(cluster, memory, signer, node=node)
    with memory.locked():
        if once:
            _report([witness.attend(log.trusted(cluster, memory, signer)) for log in logs], output)
            return
        tell(f"{signer.name} looks every {interval} s; Ctrl-C ends it")
        pause, said = threading.Event(), dict[str, str]()
        while not pause.wait(0):
            for log in logs:
                _tell(log.domain, _look(witness, log, cluster, memory, signer), said)
            pause.wait(interval)


def _look(witness: Witness, log: Pinned, cluster: Cluster, memory: Memory, signer: SignerKey) -> tuple[str, bool]:
    """What is to be said of one round, and whether it is bad news."""
    try:
        found = witness.attend(log.trusted(cluster, memory, signer))
    except CliError as error:  # the next round may get through: a restart of the API server is no reason to end
        return str(error), True
    if found.refusals:
        return _sentence(found.origin, found.refusals[0]), True
    return f"log {found.origin}: cosigned size {found.size}", False


def _tell(domain: str, news: tuple[str, bool], said: dict[str, str]) -> None:
    """Say it once, until there is something else to say."""
    text, bad = news
    if said.get(domain) != text:
        said[domain] = text
        (warn if bad else tell)(text)


def _sentence(origin: str, refusal: Refuse) -> str:
    return f"log {origin}: not cosigned: {refusal.reason}: {refusal.message}"


def _report(rounds: list[Round], output: Format) -> None:
    rows = [
        {
            "log": item.origin,
            "size": item.size,
            "decision": "Cosigned" if isinstance(decision, Cosign) else str(decision.reason),
            "message": None if isinstance(decision, Cosign) else decision.message,
        }
        for item in rounds
        for decision in item.decisions
    ]
    emit(rows, output, columns=_ROUND, name=lambda row: str(row["log"]))
    for item in rounds:
        for refusal in item.refusals:
            kind = ConflictFoundError if refusal.alarm else CliError
            raise kind(_sentence(item.origin, refusal))


_ROUND: list[Column] = [
    ("log", lambda row: row["log"]),
    ("size", lambda row: row["size"]),
    ("decision", lambda row: row["decision"]),
    ("message", lambda row: row["message"]),
]


@app.command()
def show(state: State, output: Output = Format.TABLE) -> None:
    """Show what the witness saw last of each log, and whether one showed it two histories."""
    memory = Memory(state)
    rows = [_row(memory.read(origin)) for origin in memory.origins()]
    emit(rows, output, columns=_STATES, name=lambda row: str(row["log"]))


def _row(state: WitnessState) -> dict[str, Any]:
    return {
        "log": state.origin,
        "size": None if state.last is None else state.last.size,
        "root": None if state.last is None else encode_base64(state.last.root),
        "conflict": None if state.conflict is None else _conflict_row(state.conflict),
        "note": None if state.last is None else state.last.note,
    }


def _conflict_row(conflict: Conflict) -> dict[str, Any]:
    sizes = [parse_checkpoint(parse_note(note).text).size for note in (conflict.older, conflict.newer)]
    return {"sizes": sizes, "older": conflict.older, "newer": conflict.newer}


_STATES: list[Column] = [
    ("log", lambda row: row["log"]),
    ("size", lambda row: row["size"]),
    ("root", lambda row: row["root"]),
    ("conflict", lambda row: row["conflict"] and " and ".join(str(size) for size in row["conflict"]["sizes"])),
]


@app.command()
def reset(
    log: Annotated[str, typer.Argument(metavar="CHAIN", help="The log, MESH/DOMAIN.")],
    state: State,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept with the old view.")],
) -> None:
    """Forget what was seen of a log, after people found out why it showed two histories; the old view is kept."""
    if not reason.strip():
        raise BadInputError("--reason: must not be empty")
    memory = Memory(state)
    with memory.locked():
        if log not in memory.origins():
            raise BadInputError(f"log {log!r}: the witness remembers nothing of it")
        path = memory.put_aside(log, reason.strip(), int(time.time()))
    tell(f"{path}: the old view; the next checkpoint of {log} is taken as the first one seen")


@app.command()
def check(
    file: Annotated[str, typer.Argument(help="The evidence, as in the Lease's annotation; - for standard input.")],
    log_keys: LogKeys = None,
    output: Output = Format.TABLE,
) -> None:
    """Check evidence that a log showed two histories; it takes the log's key and nothing else."""
    keys = read_keys(log_keys or ())
    if not keys:
        raise BadInputError("--log-key: the key of the log is required")
    try:
        conflict = parse_conflict(read_bytes(file, MAX_CONFLICT_BYTES))
        found = check_conflict(conflict, keys, origin=parse_checkpoint(parse_note(conflict.older).text).origin)
    except (FormError, NoteError, CheckpointError) as error:
        raise BadInputError(f"{file}: {error}") from error
    except ConflictError as error:
        raise CliError(f"{file}: proves nothing: {error}") from error
    rows = [{"log": item.origin, "size": item.size, "root": encode_base64(item.root)} for item in found]
    emit(rows, output, columns=_STATES[:3], name=lambda row: str(row["log"]))
    tell(f"proven: the key of log {found[0].origin} signed two histories")
