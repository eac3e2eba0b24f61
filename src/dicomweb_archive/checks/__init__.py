"""Checks: what is to be said of instances before they are published; pure functions from facts to findings."""
