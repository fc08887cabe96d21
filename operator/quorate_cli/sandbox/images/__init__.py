"""The project's own images, made from the installed environment without a container engine (docs/real-nodes.md)."""
