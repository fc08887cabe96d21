"""The next revision of a TrustDomain from the one in force: changed, linked, signed, printed or applied."""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from quorate.identity.ed25519 import KeyRefusedError, parse_public_key
from quorate.identity.statements import trust_domain_statement
from quorate_cli.domain.document import add_signature, check_form, warn_of_size
from quorate_cli.output import BadInputError, Format, tell, warn
from quorate_cli.publish import publish
from quorate_cli.signers import open_signer
from quorate_cli.sources import Constitution, Sources, name_of

Obj = dict[str, Any]


def next_revision(before: Constitution) -> Obj:
    """An unsigned copy of the revision in force with the next number, linked to it."""
    spec = deepcopy(before.spec)
    spec.pop("signatures", None)
    spec |= {"revision": int(before.spec["revision"]) + 1, "previousDigest": before.digest}
    return {
        "apiVersion": "quorate.dev/v1alpha1",
        "kind": "TrustDomain",
        "metadata": {"name": before.name},
        "spec": spec,
    }


def finish(
    document: Obj, before: Constitution, keys: Sequence[str] | None, sources: Sources, output: Format, *, dry_run: bool
) -> None:
    """Check the form, sign with each key, say which signatures are missing, print or apply."""
    check_form(document)
    previous = {"metadata": {"name": before.name}, "spec": before.spec}
    for key in keys or ():
        add_signature(document, open_signer(key), previous=previous)
    warn_of_size(document)
    for lack in missing(document["spec"], before.spec):
        warn(f"TrustDomain {before.name} revision {document['spec']['revision']}: {lack}")
    if not keys:
        digest = trust_domain_statement(name_of(document), document["spec"]).digest
        how = "a Constitutional proposal can authorise it: `quorate propose --revise FILE`"
        tell(f"note: unsigned, with digest {digest}; {how}")
    publish([document], None if dry_run else sources.cluster, output, verb="revised")


def missing(spec: Obj, before: Obj) -> list[str]:
    """Which signatures the admins' authorisation still lacks (trust.md, "Authorisation"), a sentence each."""
    signed = {item["name"] for item in spec.get("signatures") or ()}
    sets = [("the admins in force", before)]
    if (spec["admins"], spec["adminThreshold"]) != (before["admins"], before["adminThreshold"]):
        sets.append(("the new admins", spec))
    found = []
    for who, source in sets:
        names = [admin["name"] for admin in source["admins"]]
        lacking = source["adminThreshold"] - len(signed.intersection(names))
        if lacking > 0:
            others = ", ".join(name for name in names if name not in signed)
            found.append(f"{lacking} more of {who} must sign ({others}): `quorate domain sign --previous FILE`")
    return found


def member_of(spec: Obj, node_id: str) -> Obj:
    """The member, to be changed in place; BadInputError if there is none."""
    found = next((item for item in spec.get("members") or () if item["nodeId"] == node_id), None)
    if found is None:
        raise BadInputError(f"NODEID {node_id}: is no member of revision {int(spec['revision']) - 1}")
    assert isinstance(found, dict)
    return found


def named_key(text: str, option: str) -> tuple[str, str]:
    """(name, public key) of `NAME=KEY`, where KEY is the public key or a file that holds it.

    A plain FILE.pub stands for a key of the file's name, as `quorate keygen` writes it.
    """
    name, found, value = text.partition("=")
    if not found:
        name, value = Path(text).stem, text
    if not name:
        raise BadInputError(f"{option} {text!r}: must be NAME=PUBLICKEY, NAME=FILE or FILE")
    public = _public(value, option)
    if not public.count("+"):  # a witness key is a C2SP verifier key and has a form of its own
        try:
            parse_public_key(public)
        except (KeyRefusedError, ValueError) as error:
            raise BadInputError(f"{option} {text!r}: {error}") from error
    return name, public


def _public(value: str, option: str) -> str:
    path = Path(value)
    if path.suffix != ".pub" and not path.is_file():
        return value
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{option} {value}: cannot be read ({type(error).__name__})") from error
    if "PRIVATE" in text:
        raise BadInputError(f"{option} {value}: is a private key; its public key is in the file that ends in .pub")
    return text
