"""The audit log: a Merkle tree over JSON lines, with signed heads that the other replicas countersign."""
