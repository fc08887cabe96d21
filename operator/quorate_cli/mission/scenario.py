"""A test file, read strictly: policies, pods, timeline, responses, expectations (docs/mission-test.md)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quorate.api.mission_policy import LadderAction
from quorate.missions.policies import Policy, compile_policy
from quorate.missions.refusal import PolicyRefusedError
from quorate.missions.samples import Answer, Outcome, Pod
from quorate_cli.mission.values import amount, duration, known, listing, mapping, one_of, refuse, text
from quorate_cli.output import BadInputError
from quorate_cli.yamlfiles import read_documents

Obj = dict[str, Any]
FIELDS = frozenset({"name", "node", "devices", "policies", "policyFiles", "versions", "pods", "timeline", "responses",
                    "ends", "ignore", "expect", "expectRefused", "expectFindings"})  # fmt: skip
_POD = frozenset({"pod", "gpus", "labels", "namespaceLabels", "owner", "starts", "started", "takes"})


@dataclass(frozen=True)
class Placed:
    """A pod and when it appears on the node, in microseconds."""

    pod: Pod
    starts: int


@dataclass(frozen=True)
class Scenario:
    """One test; times in microseconds.

    Attributes:
        refused: policy → the refusal's sentence and field, of policies that were not compiled.
        responses: what the world says to an action, one second after it was begun.
        ignore: steps that are not compared.
    """

    name: str
    labels: Mapping[str, str]
    devices: Mapping[str, int]
    policies: list[Policy]
    refused: Mapping[str, PolicyRefusedError]
    pods: list[Placed]
    timeline: list[Obj]
    responses: Mapping[LadderAction, Answer | Outcome]
    ends: int
    ignore: frozenset[str]
    expect: list[Obj]
    expect_refused: Mapping[str, str]
    expect_findings: list[Obj] | None
    uids: Mapping[str, str] = field(default_factory=dict)


def read_scenarios(path: str) -> list[tuple[str, Scenario]]:
    """The tests of a file, or of every YAML file in a folder, with the file's name.

    Raises:
        BadInputError: names the file, the field, the value and the rule.
    """
    place = Path(path)
    files = sorted([*place.glob("*.yaml"), *place.glob("*.yml")]) if place.is_dir() else [place]
    if not files:
        raise BadInputError(f"{path}: holds no YAML file")
    found = []
    for file in files:
        for document in read_documents([file]):
            try:
                found.append((str(file), read_scenario(document, file.parent)))
            except BadInputError as error:
                raise BadInputError(f"{file}: {error}") from error
    return found


def read_scenario(document: Obj, folder: Path) -> Scenario:
    """One test; files that it names are looked for in `folder`."""
    known("the test", document, FIELDS)
    policies, refused = _policies(document, folder)
    wanted = {text("expectRefused", name): text("expectRefused", part)
              for name, part in mapping("expectRefused", document.get("expectRefused") or {}).items()}  # fmt: skip
    for name, error in refused.items():
        if name not in wanted:
            raise BadInputError(f"policy {name}: {error}") from error
    placed = [_placed(index, item) for index, item in enumerate(listing("pods", document.get("pods") or []))]
    findings = document.get("expectFindings")
    return Scenario(
        name=str(document.get("name") or ""),
        labels=mapping("node.labels", (document.get("node") or {}).get("labels") or {}),
        devices=_devices(document),
        policies=policies,
        refused=refused,
        pods=placed,
        timeline=[dict(mapping("timeline", item)) for item in listing("timeline", document.get("timeline") or [])],
        responses=_responses(document),
        ends=duration("ends", document.get("ends") or 0),
        ignore=frozenset(text("ignore", item) for item in listing("ignore", document.get("ignore") or [])),
        expect=[dict(mapping("expect", item)) for item in listing("expect", document.get("expect") or [])],
        expect_refused=wanted,
        expect_findings=None if findings is None else [dict(mapping("expectFindings", item)) for item in findings],
        uids={f"{item.pod.namespace}/{item.pod.name}": item.pod.uid for item in placed},
    )


def _policies(document: Obj, folder: Path) -> tuple[list[Policy], dict[str, PolicyRefusedError]]:
    files = [folder / text("policyFiles", name) for name in listing("policyFiles", document.get("policyFiles") or [])]
    objects = listing("policies", document.get("policies") or []) + read_documents(files)
    versions = mapping("versions", document.get("versions") or {})
    compiled: list[Policy] = []
    refused: dict[str, PolicyRefusedError] = {}
    for index, found in enumerate(objects):
        where = f"policies[{index}]"
        item = mapping(where, found)
        name = text(f"{where}.metadata.name", mapping(where, item.get("metadata") or {}).get("name"))
        spec = mapping(f"{where}.spec", item.get("spec"))
        contract = str((spec.get("clauseRef") or {}).get("contract", ""))
        try:
            compiled.append(compile_policy(name, spec, version=str(versions.get(contract, ""))))
        except PolicyRefusedError as error:
            refused[name] = error
    return compiled, refused


def _devices(document: Obj) -> dict[str, int]:
    found = {}
    for gpu, size in mapping("devices", document.get("devices") or {}).items():
        number = amount(f"devices.{gpu}", size)
        if not isinstance(number, int) or isinstance(number, str):
            raise refuse(f"devices.{gpu}", size, "must be bytes")
        found[gpu] = number
    return found


def _placed(index: int, value: Any) -> Placed:
    where = f"pods[{index}]"
    item = mapping(where, value)
    known(where, item, _POD)
    namespace, slash, name = text(f"{where}.pod", item.get("pod")).partition("/")
    if not slash or not name:
        raise refuse(f"{where}.pod", item.get("pod"), "must be namespace/name")
    starts = duration(f"{where}.starts", item.get("starts") or 0)
    started = item.get("started", starts // 1_000_000 if starts % 1_000_000 == 0 else f"{starts}us")
    takes = [one_of(f"{where}.takes", action, LadderAction) for action in listing(where, item.get("takes") or [])]
    pod = Pod(
        uid=f"uid-{index}",
        namespace=namespace,
        name=name,
        owner=str(item.get("owner") or f"{namespace}/{name}"),
        labels=mapping(f"{where}.labels", item.get("labels") or {}),
        namespace_labels=mapping(f"{where}.namespaceLabels", item.get("namespaceLabels") or {}),
        gpus=tuple(text(f"{where}.gpus", gpu) for gpu in listing(where, item.get("gpus") or [])),
        started=None if started == "unknown" else duration(f"{where}.started", started),
        takes=frozenset(takes),
    )
    return Placed(pod, starts)


def _responses(document: Obj) -> dict[LadderAction, Answer | Outcome]:
    found: dict[LadderAction, Answer | Outcome] = {}
    for name, said in mapping("responses", document.get("responses") or {}).items():
        action = one_of("responses", name, LadderAction)
        removes = action in (LadderAction.EVICT, LadderAction.TERMINATE)
        field = f"responses.{name}"
        found[action] = one_of(field, said, Outcome) if removes else one_of(field, said, Answer)
    return found
