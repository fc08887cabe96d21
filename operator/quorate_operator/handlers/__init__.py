"""Kopf stays here: watch events are folded into the view and mark keys dirty."""
