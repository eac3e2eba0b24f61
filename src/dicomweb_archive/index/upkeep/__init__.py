"""Upkeep: what goes on in the background, that searches stay quick and nobody waits for it."""
