"""Addresses and headers that may be kept with settings: they hold no secret."""

import re
import urllib.parse
from collections.abc import Mapping

from dro_jax.errors import ConfigError

_KEY_HEADERS = (
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "cookie",
)
_SECRETS = re.compile(r"key|token|secret|password|sig", re.IGNORECASE)


def shown(url: str) -> str:
    """A URL as it may be printed: without user, password and query."""
    parts = urllib.parse.urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl()


def check_url(url: str) -> None:
    """Refuses what is not an address of http or https, or holds a password or key.

    Raises:
      ConfigError: it does; neither is told.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        _ = parts.port  # raises where it is no number
    except ValueError:
        # Its message may hold a part of a password.
        raise ConfigError(
            "the address of a server cannot be read: give https://HOST/PATH or "
            "http://HOST:PORT/PATH"
        ) from None
    written = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not parts.hostname or not written:
        raise ConfigError(
            f"{shown(url)!r} is not the address of a server: give "
            "https://HOST/PATH or http://HOST:PORT/PATH, in ASCII"
        )
    if parts.username or parts.password:
        raise ConfigError(
            f"the address at {parts.hostname} holds a user or password, which would be "
            "kept with the settings: put the key into an environment variable, and its "
            "name into key_variable"
        )
    names = urllib.parse.parse_qs(parts.query, keep_blank_values=True)
    if any(_SECRETS.search(name) for name in names):
        raise ConfigError(
            f"the address at {parts.hostname} holds a key among its parameters, which "
            "would be kept with the settings: put it into an environment variable, and "
            "its name into key_variable"
        )


def check_headers(headers: Mapping[str, str]) -> None:
    """Refuses headers that are keys, or cannot be sent.

    Raises:
      ConfigError: one is, or cannot; tells its name alone.
    """
    for name, value in headers.items():
        if name.lower() in _KEY_HEADERS:
            raise ConfigError(
                f"headers hold {name}, a key, which would be kept with the settings: put "
                "it into an environment variable, and its name into key_variable (and "
                f"key_header = '{name}')"
            )
        if not (f"{name}{value}".isascii() and f"{name}{value}".isprintable()):
            raise ConfigError(f"the header {name!r} is not one line of ASCII")
