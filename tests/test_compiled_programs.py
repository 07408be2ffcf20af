"""Programs kept on disk: whole, checked, bounded, of this machine alone."""

import os
import stat
import subprocess
import sys

import jax
import pytest

from dro_jax import compiled_programs
from dro_jax.compiled_programs import OF_JAX, VARIABLE, ProgramStore, machine_name

KEY = f"jit_{'long_name_' * 30}-0123"


def files(folder, suffix="program"):
    return sorted(folder.glob(f"**/*.{suffix}"))


def test_a_program_comes_back(tmp_path):
    store = ProgramStore(tmp_path)
    assert store.get(KEY) is None
    store.put(KEY, b"program")
    assert ProgramStore(tmp_path).get(KEY) == b"program"
    assert files(tmp_path, "partial") == []


@pytest.mark.parametrize("damage", ["cut", "empty", "changed"])
def test_a_damaged_file_is_no_program_and_makes_place(tmp_path, damage):
    store = ProgramStore(tmp_path)
    store.put(KEY, b"program")
    (file,) = files(tmp_path)
    content = file.read_bytes()
    changed = {"cut": content[:-1], "empty": b"", "changed": content[:-1] + b"!"}
    file.write_bytes(changed[damage])
    assert store.get(KEY) is None
    store.put(KEY, b"another")
    assert store.get(KEY) == b"another"


def test_what_was_not_used_longest_goes(tmp_path):
    store = ProgramStore(tmp_path, max_bytes=1000)
    for number in range(4):
        store.put(f"{number}", bytes(200))
        os.utime(
            files(tmp_path)[0].parent / store._file(f"{number}").name, (number,) * 2
        )
    assert store.get("0") is not None  # used just now
    store.put("4", bytes(200))
    kept = [n for n in range(5) if ProgramStore(tmp_path).get(f"{n}") is not None]
    assert kept == [0, 3, 4]
    store.put("large", bytes(2000))
    assert store.get("large") is None


def test_the_bound_is_that_of_all_kinds_of_machines(tmp_path):
    """Each version of jaxlib has a part of its own, and nobody asks for old ones."""
    old = ProgramStore(tmp_path / "old")
    old.put(KEY, bytes(600))
    os.utime(files(tmp_path)[0], (1, 1))
    new = ProgramStore(tmp_path / "new", max_bytes=1000, whole=tmp_path)
    new.put("a", bytes(500))
    assert old.get(KEY) is None
    assert new.get("a") == bytes(500)


def test_a_file_of_a_killed_writer_goes(tmp_path):
    left, new = tmp_path / "a.partial", tmp_path / "b.partial"
    for path in (left, new):
        path.touch()
    os.utime(left, (1, 1))
    ProgramStore(tmp_path).put(KEY, b"program")
    assert files(tmp_path, "partial") == [new]


def test_a_folder_that_is_full_or_gone_is_told_once(tmp_path, capsys):
    store = ProgramStore(tmp_path / "programs")
    (tmp_path / "programs").rmdir()
    store.put(KEY, b"program")
    store.put("other", b"program")
    said = capsys.readouterr().err
    assert said.count("compiled programs cannot be kept") == 1
    assert store.get(KEY) is None


def test_machines_that_differ_share_nothing():
    facts = {
        "jaxlib": "1.0",
        "system": "Linux",
        "architecture": "x",
        "instructions": "a",
        "cores": "2",
    }
    names = {machine_name(facts)}
    names |= {machine_name(facts | {name: "other"}) for name in facts}
    assert len(names) == 6
    assert machine_name() == machine_name()


def test_a_program_of_one_core_is_not_for_two(monkeypatch):
    """XLA cuts a program into as many parts as its process has cores."""
    monkeypatch.delenv("NPROC", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    one = machine_name()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    two = machine_name()
    monkeypatch.setenv("NPROC", "1")
    assert one == machine_name() != two


RUN = """
import sys
from dro_jax import compiled_programs
compiled_programs._LEAST_SECONDS = 0.0  # a fast machine compiles it in less than that
compiled_programs.keep_compiled_programs(enabled=sys.argv[1:] != ["--no_compilation_cache"])
import jax, numpy as np
from jax import monitoring
seen = []
monitoring.register_event_listener(lambda event, **more: seen.append(event))

@jax.jit
def step(x, y):
    for _ in range(40):
        x = jax.numpy.tanh(x @ y) + x
    return x, x.sum()

step = jax.jit(step, donate_argnums=0)
x = np.linspace(-1, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
found, total = step(x, x.T)
hits = sum(event.endswith("/cache_hits") for event in seen)
print(hits, np.asarray(found).tobytes().hex()[:4000] + np.asarray(total).tobytes().hex())
"""


@pytest.mark.slow
def test_a_program_that_was_read_gives_the_same_bits(tmp_path):
    def run(*flags, **variables):
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("JAX_", "XLA_"))
        }
        environment |= {VARIABLE: str(tmp_path / "kept"), "JAX_PLATFORMS": "cpu"}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", RUN, *flags],
            env=environment | variables,
            capture_output=True,
            text=True,
            check=True,
        )
        hits, bits = done.stdout.split()
        return int(hits), bits, done.stderr

    none, fresh, _ = run()
    kept = files(tmp_path)
    assert none == 0 and kept
    hits, read, said = run()
    assert hits > 0
    assert read == fresh
    assert "note:" not in said
    # Damaged ones are compiled again, and replaced.
    for file in kept:
        file.write_bytes(file.read_bytes()[:50])
    assert run()[:2] == (0, fresh)
    assert run()[0] == hits
    # Nobody else's folder is used, and none where that is asked for.
    times = [file.stat().st_mtime_ns for file in kept]
    assert run("--no_compilation_cache")[:2] == (0, fresh)
    assert run(**{VARIABLE: "none"})[:2] == (0, fresh)
    assert run(**{OF_JAX: str(tmp_path / "jaxs")})[:2] == (0, fresh)
    assert [file.stat().st_mtime_ns for file in kept] == times
    (tmp_path / "kept").chmod(0o777)
    hits, bits, said = run()
    assert (hits, bits) == (0, fresh)
    assert "others can write there" in said


def test_a_command_that_does_without_leaves_the_next_as_it_was():
    before = os.environ.get("JAX_ENABLE_COMPILATION_CACHE", "true")
    compiled_programs.keep_compiled_programs(enabled=False)
    assert os.environ["JAX_ENABLE_COMPILATION_CACHE"] == "false"
    assert not jax.config.jax_enable_compilation_cache
    compiled_programs.keep_compiled_programs()
    assert os.environ["JAX_ENABLE_COMPILATION_CACHE"] == before
    assert jax.config.jax_enable_compilation_cache


def test_a_command_that_does_without_does_so_after_one_that_did_not():
    """JAX remembers what the process's first program found."""
    from jax._src import compilation_cache

    jax.jit(lambda x: x + 1)(1)
    assert compilation_cache._cache_checked
    compiled_programs.keep_compiled_programs(enabled=False)
    try:
        assert not compilation_cache.is_cache_used(jax.devices()[0].client)
    finally:
        compiled_programs.keep_compiled_programs()
    assert compilation_cache.is_cache_used(jax.devices()[0].client)


def test_a_folder_of_the_users_is_for_the_user_alone(tmp_path):
    ProgramStore(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    compiled_programs._check_owner(tmp_path / "a" / "b")


@pytest.mark.parametrize(
    ("mode", "user", "group", "is_open"),
    [
        (0o700, 7, 100, False),
        (0o755, 7, 100, False),
        (0o755, 0, 0, False),
        (0o775, 7, 7, False),  # a group of the user's own
        (0o775, 7, 100, True),
        (0o777, 7, 7, True),
        (0o700, 8, 7, True),
    ],
)
def test_a_folder_that_others_can_write_to(mode, user, group, is_open):
    status = os.stat_result((mode, 0, 0, 1, user, group, 0, 0, 0, 0))
    assert compiled_programs._is_open(status, 7) == is_open


def test_where_programs_are_kept(tmp_path, monkeypatch, capsys):
    """A folder that is made is the user's alone; a URL is no folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    monkeypatch.setattr(type(jax.config), "jax_compilation_cache_dir", None)
    monkeypatch.setattr(compiled_programs, "_install", lambda *_: None)
    before = os.umask(0)
    try:
        compiled_programs._enable("caches/compiled")
    finally:
        os.umask(before)
    made = [tmp_path / "caches" / "compiled", *tmp_path.glob("caches/compiled/*")]
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in made] == [0o700] * 2
    assert capsys.readouterr().err == ""
    compiled_programs._enable("gs://bucket/compiled")
    assert "is no local folder: JAX_COMPILATION_CACHE_DIR" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["caches"]
