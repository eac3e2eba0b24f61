"""`curate`: what curators do with submissions, of an archive like this one, from the command line."""
