"""Frames and pictures from a bucket, with and without the block cache, beside a folder."""
