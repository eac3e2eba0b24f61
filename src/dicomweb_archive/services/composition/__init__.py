"""Composition: instances put together of their metadata and bulk data, as a store request brings them.

What comes out are the events of a request with Part 10 instances, so that storing them is the same in every respect.
Whatever waits for the rest of its instance does so in a spool (`storage/spool`); what is held beside that is counted.
"""
