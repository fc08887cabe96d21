"""The configuration of what runs in a node. Paths are those that the node sees (`rootfs.py`)."""

import json
from typing import Any

from quorate_cli.sandbox.nodes.gpus import PRESENT
from quorate_cli.sandbox.nodes.init import BIN, CONTAINERD_SOCKET
from quorate_cli.sandbox.nodes.plan import LABEL, RealNode

PAUSE_IMAGE = "quorate.local/pause:1"
KUBELET_PORT = 10250
_CLIENT_AUTHORITY = "/etc/kubernetes/ca.crt"
_CNI = "/etc/cni/net.d"


def services(node: RealNode, *, gpus: bool) -> list[list[str]]:
    """Command lines of a node's programs, containerd's first; `gpus`: whether it has any."""
    labels = [f"{LABEL}=true", *([f"{PRESENT}=true"] if gpus else ())]
    return [
        [f"{BIN}/containerd", "--config=/etc/containerd.toml", "--log-level=warn"],
        [
            f"{BIN}/kubelet",
            "--config=/etc/kubernetes/kubelet.json",
            "--kubeconfig=/etc/kubernetes/kubeconfig",
            f"--hostname-override={node.name}",
            f"--node-ip={node.address}",
            f"--node-labels={','.join(labels)}",
        ],
    ]


def kubelet() -> dict[str, Any]:
    """KubeletConfiguration: cgroup v1 by cgroupfs, nothing of the machine's changed, images never collected."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": _CLIENT_AUTHORITY},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "enforceNodeAllocatable": ["pods"],
        # The disk and the memory are the machine's, and others use them too: only the last of them evicts.
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "failCgroupV1": False,
        "failSwapOn": False,
        # Images come from archives and could not be pulled again.
        "imageGCHighThresholdPercent": 100,
        "makeIPTablesUtilChains": False,
        # A GPU that is lost is seen within a second, not ten; what has not changed is reported every five minutes.
        "nodeStatusUpdateFrequency": "1s",
        "nodeStatusReportFrequency": "5m",
        # Renewed every two seconds, so that a silent node is soon seen.
        "nodeLeaseDurationSeconds": 8,
        "oomScoreAdj": 0,
        "port": KUBELET_PORT,
        "protectKernelDefaults": True,
        "resolvConf": "",
        "serializeImagePulls": False,
        "tlsCertFile": "/etc/kubernetes/kubelet.crt",
        "tlsPrivateKeyFile": "/etc/kubernetes/kubelet.key",
    }


def containerd() -> str:
    """Containerd's configuration: the CRI, overlayfs, runc by cgroupfs, and nothing that a node does not use."""
    runtime = "plugins.'io.containerd.cri.v1.runtime'"
    unused = ("nri.v1.nri", "snapshotter.v1.erofs", "snapshotter.v1.blockfile", "monitor.container.v1.restart")
    return f"""version = 3
disabled_plugins = {json.dumps([f"io.containerd.{name}" for name in unused])}
[plugins.'io.containerd.cri.v1.images']
  snapshotter = 'overlayfs'
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = '{PAUSE_IMAGE}'
[{runtime}]
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_hugetlb_controller = true
  netns_mounts_under_state_dir = true
  enable_criu = false
  [{runtime}.cni]
    bin_dirs = ['{BIN}']
    conf_dir = '{_CNI}'
    use_internal_loopback = true
  [{runtime}.containerd]
    default_runtime_name = 'runc'
    [{runtime}.containerd.runtimes.runc]
      runtime_type = 'io.containerd.runc.v2'
      [{runtime}.containerd.runtimes.runc.options]
        BinaryName = '{BIN}/runc'
        SystemdCgroup = false
"""


def pod_network(node: RealNode) -> dict[str, Any]:
    """The CNI network of a node's pods: a bridge that is their gateway, addresses of the node's own range."""
    bridge = {
        "type": "bridge",
        "bridge": "pods",
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": "/var/lib/cni",
            "ranges": [[{"subnet": node.pods}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return {"cniVersion": "1.0.0", "name": "quorate", "plugins": [bridge]}


def etc(node: RealNode, machine_id: str) -> dict[str, str]:
    """The small files of the node's `/etc` that are in every system."""
    return {
        "passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        "group": "root:x:0:\nnogroup:x:65534:\n",
        "hostname": f"{node.name}\n",
        "hosts": f"127.0.0.1 localhost\n{node.address} {node.name}\n",
        "resolv.conf": "",
        "machine-id": f"{machine_id}\n",
        "os-release": 'ID=quorate-sandbox\nPRETTY_NAME="Quorate sandbox node"\n',
        "containerd.toml": containerd(),
        "cni/net.d/10-quorate.conflist": json.dumps(pod_network(node), indent=2),
        "kubernetes/kubelet.json": json.dumps(kubelet(), indent=2),
    }
