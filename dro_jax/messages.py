"""What a command tells a person while it works: lines on standard error.

Standard output is left to what a command prints as its result.
"""

import sys


def say(text: str) -> None:
    """Print a line at once; above the bar, where one is shown."""
    print(text, file=sys.stderr, flush=True)


def note(text: str) -> None:
    """The same for what a person should know, though nothing has failed."""
    say(f"note: {text}")
