"""Block cache: aligned blocks of a remote store's objects, in memory and on the local disk, bounded.

Objects are immutable, so a block is never out of date; whether somebody may see it is decided in the index before it
is read. The blocks of an object that is deleted are removed from both levels of every server process of the machine;
without a disk level, which carries the news, other processes keep theirs in memory until newer ones push them out.
"""
