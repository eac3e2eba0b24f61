"""Segments: instances of one series indexed together, what they are found by, and how they are kept."""
