"""What a kubelet says to programs of its node: the messages of two of its gRPC interfaces, without transport."""
