"""Every retrieve resource from a folder and from S3 beside the bare limits, and what slow readers cost, in one run."""
