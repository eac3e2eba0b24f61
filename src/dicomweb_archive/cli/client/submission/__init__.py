"""`submit`: a folder as one submission, announced before it is sent, and gone on with after a kill."""
