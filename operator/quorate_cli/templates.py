"""Templates of TrustDomains: documents whose keys and digests are named as files until `quorate domain create`.

`file:NAME.pub` stands for a public key in the folder of --keys; `file:NAME.yaml` in `genesisDigest` for the digest of
that DynamicContract's genesis, relative to the template.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from quorate.contracts.content import Content
from quorate.contracts.form import ContractRefusedError
from quorate_cli.keys import Purpose, make_key, read_public
from quorate_cli.output import BadInputError
from quorate_cli.yamlfiles import one_of_kind

Obj = dict[str, Any]
SCHEME = "file:"
_MEMBER_PURPOSE = {"Vote": Purpose.VOTE, "Machine": Purpose.MACHINE, "Witness": Purpose.WITNESS}


def genesis_digest(contract: Obj, where: str) -> str:
    """The digest of a DynamicContract's genesis; BadInputError names what is wrong with it."""
    try:
        return Content.genesis((contract.get("spec") or {}).get("genesis") or {}).digest
    except ContractRefusedError as error:
        raise BadInputError(f"{where}: {error}") from error


class Filler:
    """Fills one template; makes keys that do not exist yet where `make_keys` says so."""

    def __init__(self, folder: Path, keys: Path, *, make_keys: bool) -> None:
        self._folder = folder
        self._keys = keys
        self._make_keys = make_keys

    def fill(self, spec: Obj) -> Obj:
        """A copy of the spec with every `file:` replaced."""
        mesh = str(spec.get("meshId", ""))
        filled: Obj = dict(spec)
        if "admins" in spec:
            filled["admins"] = self._named(spec["admins"], Purpose.ADMIN, "admins")
        if isinstance(spec.get("recovery"), dict):
            keys = self._named(spec["recovery"].get("keys"), Purpose.RECOVERY, "recovery.keys")
            filled["recovery"] = {**spec["recovery"], "keys": keys}
        if isinstance(spec.get("log"), dict):
            log = spec["log"]
            origin = str(log.get("origin", ""))
            filled["log"] = {**log, "keys": [self._key(item, Purpose.LOG, origin) for item in log.get("keys") or ()]}
        if "members" in spec:
            filled["members"] = _each(spec["members"], "members", lambda item: self._member(item, mesh))
        if spec.get("contracts") is not None:
            filled["contracts"] = _each(spec["contracts"], "contracts", self._contract)
        return filled

    def _named(self, items: Any, purpose: Purpose, field: str) -> list[Obj]:
        return _each(items, field, lambda item: self._public(item, purpose, str(item.get("name", ""))))

    def _member(self, member: Obj, mesh: str) -> Obj:
        if "keys" not in member:
            return member
        return {**member, "keys": _each(member["keys"], "members[].keys", lambda key: self._member_key(key, mesh))}

    def _member_key(self, key: Obj, mesh: str) -> Obj:
        purpose = _MEMBER_PURPOSE.get(str(key.get("purpose")), Purpose.VOTE)
        name = str(key.get("name", ""))
        return self._public(key, purpose, f"{mesh}/{name}" if purpose is Purpose.WITNESS else name)

    def _public(self, item: Obj, purpose: Purpose, name: str) -> Obj:
        return {**item, "publicKey": self._key(item.get("publicKey"), purpose, name)}

    def _key(self, value: Any, purpose: Purpose, name: str) -> Any:
        if not isinstance(value, str) or not value.startswith(SCHEME):
            return value
        file = value.removeprefix(SCHEME)
        if self._make_keys and not (self._keys / file).exists():
            make_key(name, purpose, self._keys, file=file.removesuffix(".pub"))
        return read_public(self._keys, file)

    def _contract(self, entry: Obj) -> Obj:
        value = entry.get("genesisDigest")
        if not isinstance(value, str) or not value.startswith(SCHEME):
            return entry
        path = self._folder / value.removeprefix(SCHEME)
        contract = one_of_kind(path, "DynamicContract")
        identifier = (contract.get("spec") or {}).get("genesis", {}).get("contractId")
        if entry.get("contractId", identifier) != identifier:
            raise BadInputError(f"contracts[].contractId {entry['contractId']}: {path} has {identifier}")
        return {**entry, "contractId": identifier, "genesisDigest": genesis_digest(contract, str(path))}


def _each(items: Any, field: str, change: Callable[[Obj], Obj]) -> list[Obj]:
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise BadInputError(f"spec.{field}: must be a list of objects")
    return [change(item) for item in items]
