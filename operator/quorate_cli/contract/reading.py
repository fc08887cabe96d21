"""Contents of a contract as commands find them: in force, in its history, or in a file."""

from typing import Annotated, Any

import typer

from quorate.api.conditions import Reason
from quorate.canonical import canonical_bytes
from quorate.contracts.content import Content
from quorate.contracts.form import ContractRefusedError
from quorate.contracts.overlay import Item, Overlay, Permission
from quorate_cli.cluster import Cluster, NotFoundError
from quorate_cli.output import BadInputError, CliError
from quorate_cli.sources import Sources, read_content, why_not

Obj = dict[str, Any]

File = Annotated[
    str | None, typer.Option("--file", "-f", metavar="FILE", help="A DynamicContract in a file: its genesis.")
]


def genesis_of(contract: Obj) -> Content:
    """The contract as it began; BadInputError where its form is wrong."""
    name = (contract.get("metadata") or {}).get("name")
    try:
        return Content.genesis((contract.get("spec") or {}).get("genesis") or {})
    except ContractRefusedError as error:
        raise BadInputError(f"DynamicContract {name}: {error}") from error


def content_of(cluster: Cluster, contract: Obj, version: str | None = None) -> Content:
    """The content in force, or of a version (`genesis`, `vYYYY.MM.DD[-n]`) or digest in its history.

    Raises:
        CliError: nothing is in force, there is no such version, or its content is not what its digest says.
    """
    genesis, status = genesis_of(contract), contract.get("status") or {}
    in_force = status.get("inForce")
    if version in ("genesis", genesis.version, genesis.digest):
        return genesis
    known = [*([in_force] if in_force else []), *(status.get("history") or ())]
    if version is None:
        if not in_force:
            name = contract["metadata"]["name"]
            raise CliError(f"DynamicContract {name!r}: nothing is in force{why_not(contract, 'Authorized', 'Ready')}")
        wanted = in_force
    else:
        wanted = next((item for item in known if version in (item["version"], item["digest"])), None)
        if wanted is None:
            versions = ", ".join(dict.fromkeys([genesis.version, *(item["version"] for item in known)]))
            raise BadInputError(f"version {version!r}: is not in the history of the contract; it knows {versions}")
    if wanted["digest"] == genesis.digest:
        return genesis
    return _fetch(cluster, wanted)


def base_of(cluster: Cluster, contract: Obj, proposal_digest: str) -> Content:
    """What a proposal changes: the content before its execution, else the one in force."""
    status = contract.get("status") or {}
    known = [status.get("inForce") or {}, *(status.get("history") or ())]
    made = next((item for item in known if item.get("proposalDigest") == proposal_digest), None)
    if made is None:
        return content_of(cluster, contract)
    previous = content_of(cluster, contract, made["digest"]).previous
    return genesis_of(contract) if previous is None else content_of(cluster, contract, previous.digest)


def _fetch(cluster: Cluster, wanted: Obj) -> Content:
    try:
        document = read_content(cluster, wanted.get("contentRef"), wanted["digest"])
        return Content.parse(canonical_bytes(document))
    except NotFoundError as error:
        raise CliError(f"version {wanted['version']}: its content is not on this cluster: {error}") from error
    except ContractRefusedError as error:
        raise CliError(f"version {wanted['version']}: {error}") from error


def load(
    name: str | None, file: str | None, version: str | None, kubeconfig: str | None, sandbox: str | None
) -> tuple[Obj, Content]:
    """The DynamicContract by name or from a file, and the content that is asked for: its genesis for a file."""
    if (name is None) == (file is None):
        raise BadInputError("give either a name or --file")
    sources = Sources([file] if file else (), kubeconfig, sandbox)
    if file is None:
        contract = sources.cluster.get("DynamicContract", str(name))
        return contract, content_of(sources.cluster, contract, version)
    found = sources.given("DynamicContract")
    if found is None:
        raise BadInputError(f"{file}: holds no DynamicContract")
    return found, genesis_of(found)


def overlay_of(contract: Obj, content: Content) -> Overlay:
    """The overlay as the operator recorded it in status; what it refused stays refused.

    Raises:
        CliError: the overrides were edited since, or what they give is not what the status says.
    """
    shown = (contract.get("status") or {}).get("overlay") or {}
    wanted = {item["clause"]: item for item in contract["spec"].get("localOverrides") or ()}
    items = tuple(
        Item(
            item["clause"],
            str(wanted.get(item["clause"], {}).get("text", "")),
            Reason(item["reason"]),
            "",
            item["base"],
            item["override"],
        )
        for item in shown.get("items") or ()
    )
    overlay = Overlay(content, Permission(""), items)
    if shown and overlay.effective_digest != shown["effectiveDigest"]:
        raise CliError(
            f"DynamicContract {contract['metadata']['name']!r}: spec.localOverrides is not what status.overlay "
            f"recorded, {shown['effectiveDigest']}: wait for the operator, or look at the condition Overridden"
        )
    return overlay


def voted_content(contract: Obj, dsn: str) -> Content:
    """What is in force as the log's database holds it; CliError where it does not."""
    from quorate_cli.audit.log import open_sources  # noqa: PLC0415 - psycopg is slow to import

    in_force = (contract.get("status") or {}).get("inForce") or {}
    genesis = genesis_of(contract)
    if in_force.get("digest") == genesis.digest:
        raise CliError(
            f"DynamicContract {contract['metadata']['name']!r}: its genesis is in force, which is its own spec"
        )
    with open_sources([dsn], ()) as sources:
        data = next((found for source in sources if (found := source.content(str(in_force.get("digest"))))), None)
    if data is None:
        raise CliError(f"content {in_force.get('digest')}: is not in the database")
    return Content.parse(data)
