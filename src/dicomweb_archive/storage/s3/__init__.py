"""Objects in a bucket of an S3 service: place, signatures, requests, uploads, and the store made of them."""
