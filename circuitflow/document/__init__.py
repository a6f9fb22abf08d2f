"""The document: bytes to a validated model and back, with the place of every fault."""
