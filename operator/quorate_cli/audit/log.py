"""`quorate audit log`: search the log."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer

from quorate.audit.entry import parse_timestamp
from quorate.audit.record import Record
from quorate.audit.verify import StoredEntry
from quorate.canonical import parse_json, parse_time
from quorate_cli.audit.keyring import Chain
from quorate_cli.options import Dsn, Kubeconfig, Output, Sandbox
from quorate_cli.output import BadInputError, CliError, Column, Format, emit
from quorate_cli.place import find_dsn

Obj = dict[str, Any]


def log(
    chains: Chain = None,
    actor: Annotated[str | None, typer.Option("--actor", help="Who did it: part of the actor's id.")] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="What it concerns: subject key, kind/name, or a digest.")
    ] = None,
    kind: Annotated[str | None, typer.Option("--type", help="Event type, or its beginning: governance.vote.")] = None,
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="From this time on.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before this time.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Only the last so many.")] = 1000,
    output: Output = Format.TABLE,
    dsn: Dsn = None,
    kubeconfig: Kubeconfig = None,
    sandbox: Sandbox = None,
) -> None:
    """Show entries of the log, in the order in which they were sealed."""
    from collections import deque  # noqa: PLC0415

    from quorate_cli.database import reading  # noqa: PLC0415 - psycopg is slow to import

    wanted = _Filter(
        actor=actor, target=target, kind=kind, since=_second("--since", since), until=_second("--until", until)
    )
    with reading(find_dsn(dsn, sandbox, kubeconfig)) as reader:
        found = deque(
            (shown for chain in chains or reader.chains() for shown in wanted.select(chain, reader.entries(chain))),
            maxlen=limit,
        )
    rows = sorted(found, key=lambda row: (row["sealedAt"], row["chain"], row["sequence"]))
    if output in (Format.JSON, Format.YAML):
        emit(rows, output)
        return
    emit(rows, output, columns=_LOG_COLUMNS, wide=_LOG_WIDE, name=lambda row: str(row["entry"]["entry_id"]))


def _second(flag: str, text: str | None) -> int | None:
    try:
        return None if text is None else parse_time(text)
    except ValueError as error:
        raise BadInputError(f"{flag}: {error}") from error


class _Filter:
    """Selects entries; all conditions that are given must hold."""

    def __init__(
        self, *, actor: str | None, target: str | None, kind: str | None, since: int | None, until: int | None
    ) -> None:
        self._actor, self._target, self._kind = actor, target, kind
        self._since, self._until = since, until

    def select(self, chain: str, entries: Iterable[StoredEntry]) -> Iterator[Obj]:
        """The matching entries as shown."""
        for stored in entries:
            try:
                record = Record.decode(stored.record)
                content = parse_json(record.content)
            except ValueError as error:
                raise CliError(
                    f"{chain}, entry {stored.sequence}: cannot be read ({error}); run `quorate audit verify`"
                ) from error
            if self._matches(content):
                yield {"chain": chain, "sequence": stored.sequence, "sealedAt": record.sealed_at, "entry": content}

    def _matches(self, content: Obj) -> bool:
        second = parse_timestamp(content["timestamp"]) // 1_000_000
        return (
            (self._actor is None or self._actor in str(content.get("actor_id", "")))
            and (self._kind is None or str(content["event_type"]).startswith(self._kind))
            and (self._since is None or second >= self._since)
            and (self._until is None or second < self._until)
            and (self._target is None or self._concerns(content["payload"], self._target))
        )

    @staticmethod
    def _concerns(payload: Obj, target: str) -> bool:
        subject = payload["subject"]
        names = {subject["key"], subject.get("name"), f"{subject.get('kind')}/{subject.get('name')}", *payload["about"]}
        return target in names


_LOG_COLUMNS: list[Column] = [
    ("time", lambda row: row["entry"]["timestamp"][:19] + "Z"),
    ("chain", lambda row: row["chain"]),
    ("seq", lambda row: row["sequence"]),
    ("event", lambda row: row["entry"]["event_type"]),
    ("subject", lambda row: f"{row['entry']['payload']['subject'].get('kind')}/{_name(row)}"),
    ("actor", lambda row: row["entry"].get("actor_id")),
]
_LOG_WIDE: list[Column] = [
    ("entry id", lambda row: row["entry"]["entry_id"]),
    ("detail", lambda row: row["entry"]["payload"].get("detail")),
]


def _name(row: Obj) -> str:
    subject = row["entry"]["payload"]["subject"]
    return str(subject.get("name") or subject["key"])
