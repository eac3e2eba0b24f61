"""Pixels: where frames lie, decoding and transcoding. Pure functions on buffers."""
