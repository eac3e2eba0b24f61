"""Webhooks: the change feed sent to targets that an operator has allowed, signed, and at least once."""
