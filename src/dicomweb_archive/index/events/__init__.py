"""The log of events: sealed into a chain, verified, and read as the change feed."""
