"""The constitution: revisions of a TrustDomain, its electorate, heartbeats and attestations (trust.md)."""
