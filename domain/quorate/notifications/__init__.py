"""Who is told that a vote is needed, when, and what the message says (docs/notifications.md)."""
