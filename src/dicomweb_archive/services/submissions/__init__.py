"""Submissions: what waits in quarantine, from its opening to a decision."""
