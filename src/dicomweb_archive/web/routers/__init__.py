"""One file a transaction of PS3.18; none imports another."""
