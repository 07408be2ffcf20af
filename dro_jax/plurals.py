"""Numbers of things, as people say them."""


def counted(count: int, thing: str) -> str:
    """`1 record`, `2 records`, `12,345 records`, `2 forward passes`."""
    ending = "es" if thing.endswith("s") else "s"
    return f"{count:,} {thing}" + ("" if count == 1 else ending)
