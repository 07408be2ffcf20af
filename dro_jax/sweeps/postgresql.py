"""How long a PostgreSQL server is waited for: libpq's own patience is minutes."""

import os

import sqlalchemy

# Seconds to connect, to each address of the host.
_CONNECT_SECONDS = 20
# A server that is gone without a word is noticed in half a minute: when it should have
# received what was sent, and when nothing is sent.
_LOST = {
    "tcp_user_timeout": 30_000,  # milliseconds
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
}


def connect_args(url: sqlalchemy.URL) -> dict[str, int]:
    """libpq's time limits; what the address or the environment sets itself stays.

    Args:
      url: of a PostgreSQL database.
    """
    args = {"connect_timeout": _CONNECT_SECONDS, **_LOST}
    if "PGCONNECT_TIMEOUT" in os.environ:
        del args["connect_timeout"]
    return {name: value for name, value in args.items() if name not in url.query}
