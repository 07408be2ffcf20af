"""Commands of a target, run one after the other."""

import shlex
import subprocess
from collections.abc import Sequence

from dro_jax.errors import ConfigError
from dro_jax.exit_codes import DONE, shell_status
from dro_jax.launching.interface import Words
from dro_jax.messages import say


def run_in_order(commands: Sequence[Words]) -> int:
    """Runs commands until one fails; what they print goes to the terminal.

    Returns:
      The status of the last one that ran.

    Raises:
      ConfigError: a program is not installed.
    """
    for words in commands:
        say(f"$ {shlex.join(words)}")
        try:
            returncode = subprocess.run(words, check=False).returncode
        except FileNotFoundError as error:
            raise ConfigError(
                f"{words[0]} is not installed here, or is not on PATH: install it, or run "
                "this line where it is"
            ) from error
        if returncode:
            return shell_status(returncode)
    return DONE.number
