"""The scripts for TPU VMs, run with folders for hosts (`helpers/local_gcloud.py`)."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import local_gcloud
import pytest

from dro_jax.errors import ConfigError
from dro_jax.exit_codes import PREEMPTED, REFUSED, of_all
from dro_jax.launching.interface import Job
from dro_jax.launching.tpu_vm import TpuVm

# What the hosts have, by another name or without effect.
PROGRAMS = {
    "uv": 'if [ "$1" = venv ]; then mkdir -p venv/bin; touch venv/bin/activate; fi\n'
    'printf "%s\\n" "$*" >> "$HOME/uv"',
    "mountpoint": '[ -e "$HOME/mounted" ]',
    "sudo": 'case "$1" in mkdir|chown) ;; *) exec "$@" ;; esac',
    "gcsfuse": 'echo "$*" > "$HOME/mounted"',
}
GIN = {"mine/run.gin": "TAU = 1.0\n"}


def job(*command, **more):
    return Job("dro-v", command, resumes=True, **more)


def tpu_vm(**settings):
    needed = {"project": "p", "zone": "us-central2-b", "tpu_slice": "v4:2x2x2"}
    return TpuVm(**{**needed, "bucket": "b", **settings})


def written(folder, target, what):
    """The launch's files, with pauses of none; the line that runs them."""
    prepared = target.prepare(what, str(folder))
    for name, text in prepared.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = re.sub(
            r"^(POLL_SECONDS|PAUSE_SECONDS)=.*", r"\1=0.1", text, flags=re.MULTILINE
        )
        path.write_text(text, encoding="utf-8")
    (line,) = prepared.commands
    return line


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    """Two hosts, and their programs on PATH."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    gcloud = pathlib.Path(local_gcloud.__file__).read_text(encoding="utf-8")
    shebang = f"#!{sys.executable} -S\n"
    (programs / "gcloud").write_text(shebang + gcloud, encoding="utf-8")
    for program in programs.iterdir():
        program.chmod(0o755)
    for n in range(2):
        (tmp_path / f"host-{n}").mkdir()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("CLOUD", str(tmp_path))
    return tmp_path


def run(line, step="all"):
    return subprocess.run(
        [*line[:-1], step], capture_output=True, text=True, timeout=60, check=False
    )


def calls(cloud):
    lines = (cloud / "calls").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def steps(cloud):
    """What was asked of gcloud, without the waiting."""
    found = []
    for words in calls(cloud):
        command = next((w for w in words if w.startswith("--command=")), "")
        step = command.split()[-1] if "host.sh" in command else words[3]
        if step not in ("describe", "status"):
            found.append(step)
    return found


def test_from_nothing_to_an_ended_job(cloud, tmp_path):
    package = tmp_path / "my code"
    (package / ".git").mkdir(parents=True)
    (package / "pyproject.toml").touch()
    # Each host is stuck once, goes on, and finds its words, files and variables.
    script = """
        echo "$HOST $WORD $1" && cat mine/run.gin
        if [ ! -e "$HOME/tried" ]; then touch "$HOME/tried"; exit 142; fi
    """
    what = job("bash", "-c", script, "x", "it's $HOME", gin_files=GIN)
    target = tpu_vm(packages=(f"{package}[tpu]", "numpy"), environment={"WORD": "a b"})
    line = written(tmp_path / "launched", target, what)
    done = run(line)
    assert done.returncode == 0, done.stderr
    expected = ["create", "scp", "ssh", "install", "start", "scp", "scp", "delete"]
    assert steps(cloud) == expected
    for n in range(2):
        log = (tmp_path / "launched" / f"log-{n}.txt").read_text(encoding="utf-8")
        assert log.count(f"host-{n} a b it's $HOME\nTAU = 1.0\n") == 2
        assert "ended with 142" in log and "attempt 2 of at most 6" in log


def test_the_steps_one_by_one(cloud, tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "setup.py").touch()
    line = written(
        tmp_path / "launched",
        tpu_vm(packages=(f"{tmp_path / 'code'}[tpu]", "numpy>=2")),
        job("sleep", "60"),
    )
    for step in ("create", "wait", "copy", "install", "start"):
        done = run(line, step)
        assert done.returncode == 0, (step, done.stderr)
    asked = (tmp_path / "host-0" / "uv").read_text(encoding="utf-8").splitlines()
    assert asked[0] == "venv --quiet --allow-existing --python 3.11 venv"
    assert asked[1].endswith("venv/bin/python ./packages/0-code[tpu] numpy>=2")
    assert (tmp_path / "host-1" / "dro-v" / "packages" / "0-code").is_dir()
    mounted = (tmp_path / "host-1" / "mounted").read_text(encoding="utf-8")
    assert "--metadata-cache-ttl-secs=0" in mounted and mounted.endswith(" b /bucket\n")
    assert run(line, "status").stdout.count("running ") == 2
    assert run(line, "start").stdout.count("runs already") == 2
    # Stopped: it is not tried again though 143 is a code that is.
    assert run(line, "stop").returncode == 0
    watched = run(line, "watch")
    assert watched.returncode == PREEMPTED.number, watched.stderr
    assert run(line, "status").stdout.count("ended 143 ") == 2
    assert run(line, "delete").returncode == 0
    assert run(line, "nonsense").returncode == REFUSED.number


def test_a_host_that_refuses_ends_the_others(cloud, tmp_path):
    script = """
        [ "$HOST" = host-0 ] && exit 2
        trap 'sleep 1; exit 143' TERM  # as long as it takes to save
        while :; do sleep 0.1; done
    """
    done = run(written(tmp_path / "launched", tpu_vm(), job("bash", "-c", script)))
    assert done.returncode == REFUSED.number, done.stderr
    assert "the others are told to" in done.stderr
    assert steps(cloud)[-4:] == ["stop", "scp", "scp", "delete"]
    assert steps(cloud).count("stop") == 1


def test_a_preempted_slice_is_asked_for_anew(cloud, tmp_path):
    (tmp_path / "state_after_start").write_text("SUSPENDED", encoding="utf-8")
    what = job("sh", "-c", "exit 0")
    done = run(written(tmp_path / "launched", tpu_vm(keep=True), what))
    assert done.returncode == 0, done.stderr
    assert "preempted 1 of at most 5" in done.stderr
    once = ["create", "scp", "ssh", "install", "start"]
    assert steps(cloud) == [*once, "delete", *once, "scp", "scp"]


def test_a_request_that_fails_is_told(cloud, tmp_path):
    (tmp_path / "state_after_start").write_text("FAILED", encoding="utf-8")
    what = job("sleep", "60")
    done = run(written(tmp_path / "launched", tpu_vm(retries=0), what))
    assert done.returncode == PREEMPTED.number
    assert steps(cloud)[-1] == "delete"
    (tmp_path / "state").write_text("FAILED", encoding="utf-8")
    waited = run(written(tmp_path / "launched", tpu_vm(), what), "wait")
    assert waited.returncode == 1 and "quota?" in waited.stderr


def test_many_statuses_are_one_as_everywhere(tmp_path):
    written(tmp_path, tpu_vm(), job("true"))
    script = (tmp_path / "tpu_vm.sh").read_text(encoding="utf-8")
    settings, body = script.split("here=", 1)
    function = re.search(
        r"^of_all\(\) \{.*?^\}", body, flags=re.MULTILINE | re.DOTALL
    ).group()
    many = [(0, 0), (0, 143), (134, 2), (143, 134), (137, 1), (0, 139), (142, 143)]
    many += [(127, 143), (139, 134), (77, 1)]
    lines = ["".join(f"ended {code} h\n" for code in codes) for codes in many]
    asked = "\n".join(f"of_all '{text}'" for text in lines)
    done = subprocess.run(
        ["bash", "-c", f"{settings}\n{function}\n{asked}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [int(x) for x in done.stdout.split()] == [of_all([*c]) for c in many]
    assert of_all([0, 139]) == 139


ALL = {
    "spot": {"spot": True, "tpu_slice": "v5e:4x4"},
    "reserved": {"reserved": True, "tpu_slice": "v5p:2x2x2", "bucket": None},
    "flags": {"create_flags": ("--network=n",), "ssh_flags": ("--internal-ip",)},
}


@pytest.mark.parametrize("settings", ALL.values(), ids=ALL)
def test_shellcheck_finds_nothing(settings, tmp_path):
    beside = pathlib.Path(sys.executable).parent / "shellcheck"
    program = str(beside) if beside.exists() else shutil.which("shellcheck")
    if program is None:
        pytest.skip("needs shellcheck, of the extra test")
    written(tmp_path, tpu_vm(**settings), job("echo", "it's", gin_files=GIN))
    scripts = [str(tmp_path / name) for name in ("tpu_vm.sh", "host.sh")]
    found = subprocess.run(
        [program, *scripts], capture_output=True, text=True, check=False
    )
    assert found.stdout + found.stderr == ""


@pytest.mark.slow
def test_gcloud_knows_every_word(cloud, tmp_path):
    real = shutil.which("gcloud", path=os.environ["PATH"].split(":", 1)[1])
    if real is None:
        pytest.skip("needs gcloud")
    for name, settings in ALL.items():
        line = written(tmp_path / name, tpu_vm(**settings), job("true"))
        run(line, "create")
        if settings.get("ssh_flags"):
            run(line, "copy")
            run(line, "fetch")
        run(line, "delete")
    lines = tmp_path / "lines.json"
    asked = {tuple(words) for words in calls(cloud)}
    commands = [
        {"command_string": "gcloud " + " ".join(map(_quoted, words))}
        for words in sorted(asked)
    ]
    lines.write_text(json.dumps(commands), encoding="utf-8")
    done = subprocess.run(
        [real, "meta", "lint-gcloud-commands", f"--commands-file={lines}"],
        capture_output=True,
        text=True,
        env={**os.environ, "CLOUDSDK_CONFIG": str(tmp_path / "config")},
        timeout=60,
        check=True,
    )
    wrong = [found for found in json.loads(done.stdout) if not found["success"]]
    assert wrong == []
    assert {step for _, _, _, step, *_ in asked} == {
        *("create", "describe", "delete", "ssh", "scp")
    }


def _quoted(word):
    return f'"{word}"' if " " in word else word


def test_settings_come_to_the_lines():
    def flags(**settings):
        script = tpu_vm(**settings).prepare(job("true"), "/x").files["tpu_vm.sh"]
        return dict(line.split("=", 1) for line in script.split("\n") if "=(" in line)

    assert flags()["SLICE_FLAGS"] == "(--type=v4 --topology=2x2x2)"
    spot = flags(spot=True, tpu_slice="v5e:4x4")
    assert spot["SLICE_FLAGS"] == "(--accelerator-type=v5litepod-16 --spot)"
    prepared = tpu_vm(tpu_slice="v5p:2x2x4").prepare(job("true"), "/x")
    assert any("in a shape that Google chooses" in note for note in prepared.notes)
    assert "RUNTIME_VERSION=v2-alpha-tpuv5\n" in prepared.files["tpu_vm.sh"]
    assert "HOSTS=4\n" in prepared.files["tpu_vm.sh"]
    assert (
        "MOUNT=''\n"
        in (tpu_vm(bucket=None).prepare(job("true"), "/x").files["host.sh"])
    )
    once = tpu_vm(retries=0).prepare(job("true"), "/x")
    assert all("RETRIES=0\n" in text for text in once.files.values())
    # The script may be called again by hand, whatever the retries.
    with pytest.raises(ConfigError, match="--overwrite"):
        tpu_vm(retries=0).prepare(Job("x", ("dro-jax", "train", "--overwrite")), "/x")


def test_packages_here_are_told_from_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("dro-jax", "x-1.whl"):
        (tmp_path / name).touch()
    packages = ("dro-jax[tpu]", "./x-1.whl", "x-1.whl[a]", "y @ git+https://z/y")
    files = tpu_vm(packages=packages).prepare(job("true"), "/x").files
    assert (
        "PACKAGES=('dro-jax[tpu]' ./packages/0/x-1.whl './packages/1/x-1.whl[a]' "
        "'y @ git+https://z/y')\n"
    ) in files["host.sh"]
    assert (
        f"LOCAL_PACKAGES=({tmp_path}/x-1.whl {tmp_path}/x-1.whl)\n"
        in (files["tpu_vm.sh"])
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"spot": True, "reserved": True}, "exclude one another"),
        ({"packages": ()}, "PACKAGES is empty"),
        ({"packages": ("./no[tpu]",)}, "PACKAGES names .*/no, which is no wheel"),
        ({"packages": ("/tmp",)}, "no folder with a pyproject.toml"),
        ({"bucket": "gs://b"}, "name alone"),
        ({"mount": "x"}, "absolute path"),
        ({"tpu_slice": "tpu7x:2x2x1"}, "no TPU VMs"),
        ({"mount": "/nfs"}, "MODEL_DIR names /bucket/run.*/nfs"),
    ],
)
def test_what_does_not_fit_is_refused(settings, message):
    what = job("true", model_dir="/bucket/run", local_paths=("/bucket/run",))
    with pytest.raises(ConfigError, match=message):
        tpu_vm(**settings).prepare(what, "/x")
