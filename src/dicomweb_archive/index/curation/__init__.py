"""Curation: collections and how they are kept, submissions, and what is decided about them."""
