"""The Kubernetes edge: connection, client, status patches and Events, written once."""
