"""The DaemonSet of the node agents (gpu.md, "Profiles"; docs/missions-distribution.md)."""

from collections.abc import Mapping, Sequence
from typing import Any

from quorate.api.manifests import AGENT
from quorate.canonical import encode_base64
from quorate.missions.fleet import Terms, union
from quorate_operator.config import Config
from quorate_operator.kube.resources import Obj
from quorate_operator.reconcile.mission_log import AGENTS

API_SERVER = "https://kubernetes.default.svc"
PORT = 9400
HOST_CGROUP = "/host/sys/fs/cgroup"
"""Where the node's own cgroups are seen: a container's are its own alone."""
_VOLUMES = (
    ("state", "/var/lib/quorate-agent", "", "DirectoryOrCreate"),
    ("workloads", "/run/quorate", "", "DirectoryOrCreate"),
    ("pod-resources", "/var/lib/kubelet/pod-resources", "", "Directory"),
    ("runtime", "/run/containerd", "", "Directory"),
    ("cgroup", "/sys/fs/cgroup", HOST_CGROUP, "Directory"),
)
"""Name, path on the node, path in the container where that is another one, type."""
_WRITTEN = ("state", "workloads")
_LABELS = {"app.kubernetes.io/part-of": "quorate", "app.kubernetes.io/name": AGENT}
_OPERATOR = "In"


def manifest(config: Config, public_key: bytes, terms: Terms) -> Obj:
    """The object as the operator wants it; `terms` are the sets of node labels of which one is enough."""
    metadata = {"name": AGENTS.name, "namespace": AGENTS.namespace, "labels": _LABELS}
    template = {"metadata": {"labels": _LABELS}, "spec": _pod(config, public_key, terms)}
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}}
    spec = {"selector": {"matchLabels": _LABELS}, "updateStrategy": rolling, "template": template}
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata, "spec": spec}


def _pod(config: Config, public_key: bytes, terms: Terms) -> Obj:
    pod: Obj = {
        "serviceAccountName": AGENT,
        "hostPID": True,
        "priorityClassName": "system-node-critical",
        "tolerations": [{"operator": "Exists"}],
        "containers": [_container(config, public_key)],
        "volumes": [{"name": name, "hostPath": {"path": path, "type": kind}} for name, path, _, kind in _VOLUMES],
    }
    if affinity := _affinity(terms):
        pod["affinity"] = affinity
    return pod


def _environment(config: Config, public_key: bytes) -> list[Obj]:
    """The agent's flags by their environment twins (docs/agent.md)."""
    values = {
        "QUORATE_POLICY_KEY": encode_base64(public_key),
        "QUORATE_STATE": "/var/lib/quorate-agent",
        "QUORATE_SOCKET": "/run/quorate/mission.sock",
        "QUORATE_API_SERVER": API_SERVER,
        "QUORATE_CGROUP": HOST_CGROUP,
        "QUORATE_HTTP": f"0.0.0.0:{PORT}",
        "QUORATE_DRY_RUN": "false" if config.agent_profile == "enforce" else "true",
        **config.agent_env,
    }
    node = {"name": "QUORATE_NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    return [node, *({"name": name, "value": value} for name, value in sorted(values.items()))]


def _container(config: Config, public_key: bytes) -> Obj:
    enforcing = config.agent_profile == "enforce"
    # The empty list is written too: capabilities that somebody adds are then an alteration.
    capabilities = {"drop": ["ALL"], "add": ["SYS_ADMIN", "KILL"] if enforcing else []}
    return {
        "name": "agent",
        "image": config.agent_image,
        "env": _environment(config, public_key),
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 10},
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 5},
        "securityContext": {
            "privileged": False,
            "allowPrivilegeEscalation": enforcing,
            "readOnlyRootFilesystem": True,
            "capabilities": capabilities,
        },
        "volumeMounts": [
            {"name": name, "mountPath": seen or path} | ({} if name in _WRITTEN else {"readOnly": True})
            for name, path, seen, _ in _VOLUMES
        ],
    }


def _affinity(terms: Terms) -> Obj:
    if any(not term for term in terms):
        return {}
    selected = [
        {
            "matchExpressions": [
                {"key": key, "operator": _OPERATOR, "values": [value]} for key, value in sorted(term.items())
            ]
        }
        for term in terms
    ]
    required = {"nodeSelectorTerms": selected}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


def terms_of(obj: Obj) -> Terms:
    """The sets of node labels that a DaemonSet asks for, as `manifest` writes them; every node for any other form."""
    pod = obj["spec"]["template"]["spec"]
    affinity = ((pod.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if not affinity:
        return ({},)
    found: list[Mapping[str, str]] = []
    for term in affinity.get("nodeSelectorTerms") or ():
        expressions = term.get("matchExpressions") or ()
        if any(item.get("operator") != _OPERATOR or len(item.get("values") or ()) != 1 for item in expressions):
            return ({},)
        found.append({item["key"]: item["values"][0] for item in expressions})
    return union(found)


def holds(live: Any, wanted: Any) -> bool:
    """Whether an object has all that is wanted; what the API server or others added to it is theirs.

    Lists of named things are compared by name, others as a whole.
    """
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(holds(live.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        live = live or []  # the API server leaves empty lists out
        if not isinstance(live, Sequence) or isinstance(live, str):
            return False
        if wanted and all(isinstance(item, Mapping) and "name" in item for item in wanted):
            named = {item.get("name"): item for item in live if isinstance(item, Mapping)}
            return all(holds(named.get(item["name"]), item) for item in wanted)
        return len(live) == len(wanted) and all(holds(*pair) for pair in zip(live, wanted, strict=True))
    return bool(live == wanted)
