"""Checks as a service: run over a submission, listed, waived."""
