"""Addresses of servers, apart from the logins that may stand in them."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit


class ServerAddress(str):
    """`http://HOST:PORT`, as text that may be printed and stored; a login travels beside it.

    Attributes:
        login: user and password, where the address that was given had them: `http://USER:PASSWORD@HOST:PORT`.
    """

    login: tuple[str, str] | None

    def __new__(cls, text: str) -> ServerAddress:
        """Read an address.

        Raises:
            ValueError: if it is not one, or has more than a host, a port and a path.
        """
        parts = urlsplit(text)
        shown = text.replace(text.partition("//")[2].rpartition("@")[0], "***") if "@" in text else text
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{shown!r} is not an address: expected http://HOST:PORT")
        if parts.query or parts.fragment:
            raise ValueError(
                f"{shown.partition('?')[0]!r}: an address has no '?' or '#' part; expected http://HOST:PORT"
            )
        host = parts.netloc.rpartition("@")[2]
        made = super().__new__(cls, f"{parts.scheme}://{host}{parts.path}".rstrip("/"))
        made.login = None
        if parts.username is not None:
            made.login = (unquote(parts.username), unquote(parts.password or ""))
        return made
