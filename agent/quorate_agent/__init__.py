"""The GPU node agent: governs what already runs on a node, also when API server and log cannot be reached.

It imports neither kopf nor kubernetes, and has no write verb in Kubernetes (docs/agent.md).
"""
