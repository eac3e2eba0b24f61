"""Corrections of what waits: seen before they are made, applied as a job, told and undone."""
