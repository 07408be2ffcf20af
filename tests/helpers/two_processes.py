"""Programs that two processes run together, each on simulated devices of its own."""

import os
import socket
import subprocess
import sys


def run_two(program: str, *arguments: str, devices: int, timeout: float) -> None:
    """Runs a program as two processes, which end well.

    Args:
      program: is given a free port, its process's number, and the arguments.
      arguments: the same for both.
      devices: of each process.
      timeout: seconds until each must have ended.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, port, str(index), *arguments],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    errors = [process.communicate(timeout=timeout)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
