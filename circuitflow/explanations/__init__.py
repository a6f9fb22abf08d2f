"""The staged computation in words and numbers."""
