"""`gcloud compute tpus …` with folders for hosts: run as a program, from PATH.

The folder CLOUD holds a file `state` (of the queued resource; absent where there is
none), `calls` (the words of each call), and a home for each host, `host-N`, where `ssh`
runs its command in a shell. What `state_after_start` holds becomes the state once hosts
have started; it is used once.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys


def main(words):
    cloud = pathlib.Path(os.environ["CLOUD"])
    with open(cloud / "calls", "a", encoding="utf-8") as calls:
        calls.write(json.dumps(words) + "\n")
    flags = dict(word.split("=", 1) for word in words if "=" in word)
    kind, step = words[2:4]
    if kind == "queued-resources":
        return queued(cloud, step)
    hosts = sorted(cloud.glob("host-*"))
    which = flags["--worker"]
    chosen = hosts if which == "all" else [hosts[int(which)]]
    return ssh(cloud, chosen, flags) if step == "ssh" else scp(chosen, words)


def queued(cloud, step):
    state = cloud / "state"
    if step == "describe":
        if not state.exists():
            print("NOT_FOUND", file=sys.stderr)
            return 1
        print(state.read_text(encoding="utf-8"))
    elif step == "create":
        assert not state.exists(), "it is there already"
        state.write_text("ACTIVE", encoding="utf-8")
    else:
        state.unlink()
        for host in cloud.glob("host-*"):
            for pid in host.glob("*/pid"):
                # A machine's processes go with it.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(int(pid.read_text(encoding="utf-8")), signal.SIGKILL)
            shutil.rmtree(host)
            host.mkdir()
    return 0


def ssh(cloud, chosen, flags):
    codes = [
        subprocess.run(
            ["bash", "-c", flags["--command"]],
            cwd=host,
            env={**os.environ, "HOME": str(host), "HOST": host.name},
            check=False,
        ).returncode
        for host in chosen
    ]
    after = cloud / "state_after_start"
    if flags["--command"].endswith("host.sh start") and after.exists():
        after.rename(cloud / "state")
    return max(codes)


def scp(chosen, words):
    source, target = words[4:6]
    for host in chosen:
        if ":" in target:
            shutil.copy(source, host / target.partition(":")[2])
        else:
            shutil.copy(host / source.partition(":")[2], target)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
