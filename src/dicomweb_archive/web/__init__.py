"""The HTTP door: the only room that knows requests and responses."""
