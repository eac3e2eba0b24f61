"""Grammar of PS3.18 messages: paths, parameters, media types, multipart. Bytes in, bytes out, no I/O."""
