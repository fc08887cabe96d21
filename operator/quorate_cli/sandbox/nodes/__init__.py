"""Real nodes: kubelet, containerd and runc in namespaces of their own, beside kwok's (docs/real-nodes.md)."""
