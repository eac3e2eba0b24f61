"""Edits: corrections of what waits in submissions, what they have changed, and what they read and write for it."""
