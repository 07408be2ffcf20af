"""Programs of several processes that are joined as the commands join them."""

import sys
import traceback

from dro_jax.cli import main
from dro_jax.errors import PeerError, UserError
from dro_jax.training import distributed
from dro_jax.training.host_places import Place


def executed_joined(place, program: str, *arguments: str, timeout: float = 60) -> int:
    """Runs a program's text; what ends it ends all, as in `dro_jax.cli.main`."""
    sys.argv = ["program", *arguments]
    try:
        distributed.join(
            Place(f"127.0.0.1:{place.port}", place.count, place.rank), timeout
        )
        exec(compile(program, "program", "exec"), {"__name__": "__main__"})  # noqa: S102
        distributed.finish()
    except UserError as error:
        print(error, file=sys.stderr)
        return distributed.leave(2, str(error))
    except SystemExit as stopped:
        distributed.finish()
        return stopped.code
    except Exception as error:  # noqa: BLE001  as in main
        if not isinstance(error, PeerError):
            traceback.print_exc()
        return distributed.fail(error)
    return 0


def command(place, by_rank: list[list[str]]) -> int:
    """Runs `dro-jax` with each process's own flags, and those that make it one of many."""
    return main.main(
        [
            *by_rank[place.rank],
            f"--coordinator=127.0.0.1:{place.port}",
            f"--num_processes={place.count}",
            f"--process_id={place.rank}",
        ]
    )
