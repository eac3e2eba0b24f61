"""Write the OpenAPI document to the file named by the first argument, or to standard output."""

import sys
from pathlib import Path

import orjson

from dicomweb_archive.web.openapi.document import describe


def main() -> None:
    """Write the description to the file named by the first argument, or to standard output."""
    text = orjson.dumps(describe(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_bytes(text)
    else:
        sys.stdout.buffer.write(text)


if __name__ == "__main__":
    main()
