"""Searches by kind on archives of different sizes: build each once, measure, compare."""
