"""The three JSON documents for other programs (row A9): made from live objects, checked whenever made or read."""
