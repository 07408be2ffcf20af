"""The `dro-jax` command. Heavy imports wait until a command runs."""

import importlib
import os
import sys
import traceback

from dro_jax import exit_codes, kept_memory, messages
from dro_jax.cli import (
    early_checks,
    flag_paths,
    launch_parser,
    outputs,
    tasks_parser,
    tensorflow_start,
)
from dro_jax.cli.parser import build_parser
from dro_jax.compiled_programs import keep_compiled_programs
from dro_jax.data.store.folders import set_prepared_dir
from dro_jax.errors import ConfigError, PeerError, UserError
from dro_jax.training import distributed
from dro_jax.training.host_places import Place, place_of

# What they tell of compiled programs a program that was read back cannot tell.
_MEASURE_COMPILING = ("plan", "benchmark")


def main(argv: list[str] | None = None) -> int:
    """Run a command.

    The exit status is one of `dro_jax.exit_codes`: 0, 2 for an error of the user's, 143
    for a run that SIGTERM stopped and that was saved, 130 for Ctrl-C, whether or not
    there was a run to save, and 141 where nobody reads the output any more; of `launch`,
    its processes'. A process of several that ends otherwise than with 0 ends the others.
    """
    words, launched = launch_parser.split(sys.argv[1:] if argv is None else argv)
    arguments, rest = build_parser().parse_known_args(words)
    arguments.launched = launched
    # Only in a process of its own, whose memory is the command's to keep; and not where
    # many threads prepare data, which would wait for one another's allocations.
    if argv is None and arguments.command != "tasks":
        kept_memory.keep()
    try:
        rest = tasks_parser.take_rest(arguments, rest)
        arguments.gin_bindings = gin_bindings(rest)
        flag_paths.expand(arguments)
        set_prepared_dir(getattr(arguments, "prepared_dir", None))
        place = _place(arguments)
        if place is not None:
            messages.set_process(place.process_id, place.num_processes)
            if not _takes_part(arguments):
                messages.warn(f"`{arguments.command}` is done by process 0 alone")
                return exit_codes.DONE.number
        with outputs.prepared(arguments), messages.results_once():
            early_checks.check(arguments)
            if arguments.command not in _MEASURE_COMPILING:
                without = getattr(arguments, "no_compilation_cache", False)
                keep_compiled_programs(enabled=not without)
            if _runs_as_one(arguments):
                if place is not None:
                    distributed.join(place, arguments.start_timeout)
                distributed.adopt()
            command = _import_command(arguments.command_module)
            status = command.run(arguments)
        sys.stdout.flush()
        distributed.finish()
    except UserError as error:
        # gin appends the configurables that it was calling.
        message = str(error).split("\n  In call to configurable")[0]
        return _ended(arguments, exit_codes.REFUSED.number, message)
    except SystemExit as stopped:
        whole = isinstance(stopped.code, int)
        code = stopped.code if whole else exit_codes.CRASHED.number
        if getattr(stopped, "by_all", False):
            # All say so for themselves, and end when all have saved.
            messages.warn(f"dro-jax {arguments.command}: {stopped}")
            distributed.finish()
            return code
        return _ended(arguments, code, str(stopped))
    except BrokenPipeError:
        # `| head` has read enough. Python flushes at its end, into nothing then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        message = "nobody reads the output any more"
        return distributed.leave(exit_codes.UNREAD.number, message)
    except KeyboardInterrupt:
        return _ended(arguments, exit_codes.INTERRUPTED.number, "interrupted")
    except Exception as error:
        if not distributed.is_joined():
            raise
        if not isinstance(error, PeerError):
            traceback.print_exc()
        return distributed.fail(error)
    return status or exit_codes.DONE.number


def _ended(arguments, status: int, message: str) -> int:
    messages.warn(f"dro-jax {arguments.command}: {message}")
    return distributed.leave(status, message)


def _runs_as_one(arguments) -> bool:
    """Whether several processes run the command as one, on the devices of all."""
    return hasattr(arguments, "start_timeout")


def _takes_part(arguments) -> bool:
    """Whether this process of several does anything: what is no one's run is one's."""
    # Processes that prepare the same records share the work without knowing each other.
    shared = getattr(arguments, "action", None) == "prepare"
    return messages.is_first() or shared or _runs_as_one(arguments)


def _place(arguments) -> Place | None:
    """Which of several processes this is; None, one of its own.

    A command that several run as one finds the others after what the command line alone
    can get wrong, which need not wait for them, and before anything touches JAX's devices.
    """
    if arguments.command == "sweep":
        # Its workers share trials, without knowing each other, and each speaks for itself.
        return None
    if not _runs_as_one(arguments):
        # A host of a slice may well be used alone: only a launcher's word counts.
        return place_of(environment=os.environ | {"JAX_PLATFORMS": "cpu"})
    timeout = arguments.start_timeout
    if not timeout > 0:
        raise ConfigError(f"--start_timeout must be above 0, got {timeout:g}")
    return place_of(
        arguments.coordinator,
        arguments.num_processes,
        arguments.process_id,
        timeout=timeout,
    )


def _import_command(name: str):
    """The command's module."""
    tensorflow_start.prepare()
    return importlib.import_module(f"dro_jax.cli.{name}")


def gin_bindings(flags: list[str]) -> list[str]:
    """`--gin.NAME=VALUE` flags as gin bindings `NAME = VALUE`.

    Raises:
      ConfigError: another flag, or one without `=`.
    """
    bindings = []
    for flag in flags:
        if not flag.startswith("--gin."):
            raise ConfigError(
                f"{flag!r} is not a flag of this command: see --help. Settings are "
                "given as --gin.NAME=VALUE"
            )
        name, equals, value = flag.removeprefix("--gin.").partition("=")
        if not equals:
            raise ConfigError(f"{flag!r} needs a value: --gin.{name}=VALUE")
        bindings.append(f"{name} = {value}")
    return bindings


if __name__ == "__main__":
    sys.exit(main())
