"""Tells people that their vote is needed, beside deciding and never before it (docs/notifications.md)."""
