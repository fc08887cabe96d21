"""Versions of the control plane, the same as in `hack/controlplane/go.mod` and `hack/kwok/go.mod`."""

KUBERNETES = "v1.36.3"
ETCD = "v3.6.8"
KWOK = "v0.8.0"
_VERSION = "k8s.io/component-base/version"
# Without these the server calls itself v0.0.0-master, and clients that look at its version misjudge it.
LDFLAGS = f"-s -w -X {_VERSION}.gitVersion={KUBERNETES} -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=36"
# Of real nodes, the same as in `hack/nodes/go.mod`.
CONTAINERD = "v2.4.2"
RUNC = "1.5.2"
