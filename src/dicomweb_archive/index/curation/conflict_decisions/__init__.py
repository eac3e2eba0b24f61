"""Decisions on conflicts: what stands stays, or gives way to what came and is kept in its place as the conflict.

A replacement swaps the two: the row of the conflict keeps what stood before, found by the submission and by nothing
else, so that the same decision asked for again takes it back. Readers see all of a batch at once, or nothing of it.
"""
