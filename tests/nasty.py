"""Nasty texts of our own: what hostile clients put into query strings and paths, with a mark to find them again."""

from collections.abc import Iterator
from urllib.parse import quote

MARK = "zzq7341"
"""Stands in every text: an answer that holds it has repeated what it was sent."""

SQL = (
    "' or '1'='1",
    "'; drop table study; --",
    "1); select pg_sleep(9); --",
    '" union select null, version() --',
)
LINES = ("\r\nSet-Cookie: a=b", "\r\n\r\n<html>", "\nX-Injected: 1", "\u2028X-Injected: 1")
PATTERNS = ("(a+)+$", "[a-z]{1000000}", "%_%_%_", "\\", "\\\\%", "$1", "{0}{x!r}", "%s%n", "${jndi:ldap://a}")
MARKUP = ("<script>alert(1)</script>", "=cmd|' /C calc'!A0", "\x1b[31m", "\u202e", "&#0;", "{{7*7}}")
BROKEN = ("%00", "%ff%fe", "%c0%af", "%e0%80%af", "%ed%a0%80", "%f4%90%80%80", "%zz", "%", "%4", "%u0041")
"""Percent-encoding that is none, or of bytes that are no UTF-8 text."""

STEPS = ("..%2f..%2fetc%2fpasswd", "%2e%2e", "%252e%252e%252f", "..%5c..%5c", "..;/", "%2e%2e/%2e%2e/", "....//", "%00")
"""Ways out of a folder."""


def harmless_texts() -> Iterator[str]:
    """Texts that any parameter must take or refuse, percent-encoded."""
    for text in (*SQL, *LINES, *PATTERNS, *MARKUP):
        yield quote(MARK + text, safe="")


def refused_texts() -> Iterator[str]:
    """Texts that no parameter and no path can take, encoded as they are."""
    for text in BROKEN:
        yield MARK + text
