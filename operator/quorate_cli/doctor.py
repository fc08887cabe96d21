"""`quorate doctor`: checks everything that the operator and the command line need, and says what to do."""

import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import typer

from quorate_cli.cluster import Cluster
from quorate_cli.options import Dsn, Kubeconfig, Output, Sandbox
from quorate_cli.output import CliError, ExitCode, Format, emit, paint
from quorate_cli.place import connect, find_dsn
from quorate_operator.kube.resources import GROUP, OWN_KINDS, SYSTEM_NAMESPACE, VERSION

Obj = dict[str, Any]
app = typer.Typer()
MINIMUM_KUBERNETES = (1, 30)  # ValidatingAdmissionPolicy and selectableFields
_DEPENDENCIES = ("cryptography", "kopf", "psycopg", "pydantic", "typer")


@dataclass(frozen=True)
class Finding:
    """One check: `state` is ok, warning or failed; `advice` says what to do."""

    check: str
    state: str
    message: str
    advice: str = ""


def _guard(check: str, advice: str, action: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """The findings of a check; its failure to run is a finding too."""
    try:
        yield from action()
    except CliError as error:
        yield Finding(check, "failed", str(error), advice)


def check_versions() -> Iterator[Finding]:
    """Python and the packages that matter."""
    found = platform.python_version()
    good = sys.version_info >= (3, 11)
    yield Finding("python", "ok" if good else "failed", found, "" if good else "install Python 3.11 or later")
    missing = []
    for name in _DEPENDENCIES:
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    state, message = ("failed", f"not installed: {', '.join(missing)}") if missing else ("ok", "all installed")
    yield Finding("packages", state, message, "install Quorate again: pip install quorate" if missing else "")


def check_server(cluster: Cluster) -> Iterator[Finding]:
    """The API server answers and is not too old."""
    answer = cluster.request("GET", "/version")
    digits = ["".join(filter(str.isdigit, str(answer.get(part, "")))) for part in ("major", "minor")]
    found = (int(digits[0] or 0), int(digits[1] or 0))
    good = found >= MINIMUM_KUBERNETES
    advice = "" if good else "upgrade to Kubernetes {}.{} or later".format(*MINIMUM_KUBERNETES)
    yield Finding("cluster", "ok" if good else "failed", f"Kubernetes {answer.get('gitVersion')}", advice)


def check_definitions(cluster: Cluster) -> Iterator[Finding]:
    """All CustomResourceDefinitions are there, served, and established."""
    present = {item["metadata"]["name"]: item for item in cluster.list("CustomResourceDefinition")}
    missing = [kind.kind for kind in OWN_KINDS if f"{kind.plural}.{GROUP}" not in present]
    broken = [kind.kind for kind in OWN_KINDS if not _established(present.get(f"{kind.plural}.{GROUP}"))]
    if missing:
        message = f"missing: {', '.join(missing)}"
    else:
        message = (
            f"not established or without {VERSION}: {', '.join(broken)}" if broken else f"all {len(OWN_KINDS)} kinds"
        )
    advice = "kubectl apply --server-side -f crds/" if missing or broken else ""
    yield Finding("definitions", "failed" if advice else "ok", message, advice)


def _established(definition: Obj | None) -> bool:
    if definition is None:
        return False
    served = any(item["name"] == VERSION and item["served"] for item in definition["spec"]["versions"])
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return served and any(item["type"] == "Established" and item["status"] == "True" for item in conditions)


_RIGHTS = (
    ("create", GROUP, "votes"),
    ("create", GROUP, "governanceproposals"),
    ("get", GROUP, "trustdomains"),
    ("get", GROUP, "dynamiccontracts"),
    ("patch", GROUP, "trustdomains"),
)


def check_rights(cluster: Cluster) -> Iterator[Finding]:
    """What the current user may do, by asking the API server."""
    lacking = [
        f"{verb} {resource}" for verb, group, resource in _RIGHTS if not _allowed(cluster, verb, group, resource)
    ]
    if lacking:
        advice = "ask for a role binding to the aggregated ClusterRole view, edit or admin (manifests/rbac.yaml)"
        yield Finding("your rights", "warning", f"you may not: {', '.join(lacking)}", advice)
    else:
        yield Finding("your rights", "ok", "vote, propose, read and change TrustDomains")


def _allowed(cluster: Cluster, verb: str, group: str, resource: str) -> bool:
    attributes = {"verb": verb, "group": group, "resource": resource, "namespace": cluster.namespace}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    return bool((cluster.request("POST", path, body=review).get("status") or {}).get("allowed"))


def check_manifests(cluster: Cluster) -> Iterator[Finding]:
    """The operator's own rights and the admission policy are installed."""
    wanted = (
        (f"/api/v1/namespaces/{SYSTEM_NAMESPACE}", f"Namespace {SYSTEM_NAMESPACE}", "manifests/rbac.yaml"),
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/quorate-operator",
            "operator's ClusterRole",
            "manifests/rbac.yaml",
        ),
    )
    missing = [(what, file) for path, what, file in wanted if not _exists(cluster, path)]
    policies = cluster.request("GET", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies")
    if not any(item["metadata"]["name"].startswith("quorate") for item in policies.get("items") or ()):
        missing.append(("ValidatingAdmissionPolicy", "manifests/admission.yaml"))
    files = " -f ".join(dict.fromkeys(file for _, file in missing))
    message = (
        f"missing: {', '.join(what for what, _ in missing)}" if missing else "rights and admission policy installed"
    )
    yield Finding("manifests", "failed" if missing else "ok", message, f"kubectl apply -f {files}" if missing else "")


def _exists(cluster: Cluster, path: str) -> bool:
    from quorate_cli.cluster import NotFoundError  # noqa: PLC0415

    try:
        cluster.request("GET", path)
    except NotFoundError:
        return False
    return True


def check_operator(cluster: Cluster) -> Iterator[Finding]:
    """Somebody holds the operator's Lease and renews it."""
    lease = cluster.find("Lease", "quorate-operator", SYSTEM_NAMESPACE)
    spec = (lease or {}).get("spec") or {}
    if not spec.get("holderIdentity"):
        yield Finding(
            "operator", "failed", "no operator leads", "start it: `quorate sandbox up`, or the operator's pod"
        )
        return
    age = int(time.time()) - _seconds(str(spec.get("renewTime", "")))
    fresh = age <= 2 * int(spec.get("leaseDurationSeconds") or 15) + 5
    message = f"{spec['holderIdentity']} leads, renewed {age} s ago"
    advice = "" if fresh else "it does not run any more: look at its log, `quorate sandbox logs operator`"
    yield Finding("operator", "ok" if fresh else "failed", message, advice)


def _seconds(text: str) -> int:
    from quorate.canonical import parse_time  # noqa: PLC0415

    try:
        return parse_time(text[:19] + "Z")
    except ValueError:
        return 0


def check_database(dsn: str) -> Iterator[Finding]:
    """The database answers, is ours, and has the schema of this version."""
    from quorate_cli.database import describe  # noqa: PLC0415 - psycopg is slow to import

    for check, state, message, advice in describe(dsn):
        yield Finding(check, state, message, advice)


def examine(kubeconfig: str | None, sandbox: str | None, dsn: str | None) -> Iterator[Finding]:
    """All findings, one after the other."""
    yield from check_versions()
    try:
        cluster = connect(kubeconfig, sandbox)
        first = list(check_server(cluster))
    except CliError as error:
        advice = "give --kubeconfig or --sandbox, or start one: quorate sandbox up"
        yield Finding("cluster", "failed", str(error), advice)
    else:
        yield from first
        advice = "ask an administrator: the current user may not look"
        yield from _guard("definitions", advice, lambda: check_definitions(cluster))
        yield from _guard("your rights", advice, lambda: check_rights(cluster))
        yield from _guard("manifests", advice, lambda: check_manifests(cluster))
        yield from _guard("operator", advice, lambda: check_operator(cluster))
    try:
        found = find_dsn(dsn, sandbox, kubeconfig)
    except CliError as error:
        yield Finding("database", "warning", str(error), "only `quorate audit` needs it")
        return
    yield from _guard("database", "check --dsn and that Postgres runs", lambda: check_database(found))


_MARKS = {"ok": ("ok", "good"), "warning": ("warn", "warn"), "failed": ("FAIL", "bad")}


@app.command()
def doctor(
    output: Output = Format.TABLE, kubeconfig: Kubeconfig = None, sandbox: Sandbox = None, dsn: Dsn = None
) -> None:
    """Check versions, cluster, definitions, rights, operator and database; say what to do about each finding."""
    findings = []
    for finding in examine(kubeconfig, sandbox, dsn):
        findings.append(finding)
        if output in (Format.TABLE, Format.WIDE):
            mark, style = _MARKS[finding.state]
            print(f"{paint(f'{mark:<4}', style)}  {finding.check + ':':<13} {finding.message}")
            if finding.advice:
                print(f"      {'':<13} → {finding.advice}")
    if output not in (Format.TABLE, Format.WIDE):
        emit([vars(finding) for finding in findings], output, name=lambda row: str(row["check"]))
    if any(finding.state == "failed" for finding in findings):
        raise typer.Exit(int(ExitCode.FAILED))
