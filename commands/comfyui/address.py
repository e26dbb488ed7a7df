"""Addresses of servers, apart from the logins that may stand in them."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit


def without_login(text: str) -> str:
    """Return an address without user, password and what follows `?` or `#`, which may be a token."""
    scheme, rest = re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]*://)?(.*)", text, re.DOTALL).groups("")
    plain = re.split("[?#]", rest)[0]
    # With an @ further on, nobody knows where the password ends.
    return scheme + ("***" if "@" in rest[len(plain) :] else plain.rpartition("@")[2])


class ServerAddress(str):
    """`http://HOST:PORT`, as text that may be printed and stored; a login travels beside it.

    Attributes:
        login: user and password, where the address that was given had them: `http://USER:PASSWORD@HOST:PORT`.
    """

    login: tuple[str, str] | None

    def __new__(cls, text: str) -> ServerAddress:
        """Read an address.

        Raises:
            ValueError: if it is not one, or has more than a host, a port and a path. It does not repeat the login.
        """
        shown = without_login(text)
        try:
            parts = urlsplit(text)
            sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # a wrong port or bracket; its words may hold the password
            sound = False
        if not sound or "@" in parts.path + parts.query + parts.fragment or re.search(r"[\s\x00-\x1f\x7f]", text):
            raise ValueError(
                f"{shown!r} is not an address: expected http://HOST:PORT; letters such as / and @ "
                "of a password are written as %2F and %40"
            )
        if "?" in text or "#" in text:
            raise ValueError(f"{shown!r}: an address has no '?' or '#' part; expected http://HOST:PORT")
        made = super().__new__(cls, shown.rstrip("/"))
        made.login = None
        if parts.username is not None:
            made.login = (unquote(parts.username), unquote(parts.password or ""))
        return made
