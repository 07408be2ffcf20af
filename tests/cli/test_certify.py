"""`dro-jax certify` at a reduced size: its files, its verdict, its errors."""

import json
import re
import subprocess
import sys

import pytest

from dro_jax.cli.main import main


@pytest.mark.slow
def test_writes_its_three_files_over_old_ones(tmp_path, capsys):
    (tmp_path / "certificate.md").write_text("old")
    (tmp_path / "kept.txt").write_text("kept")
    flags = ["--form", "table", "--objectives", "DROV,nll", "--steps", "30"]
    assert main(["certify", "--output_dir", str(tmp_path), *flags]) == 0
    shown = capsys.readouterr().out
    written = (tmp_path / "certificate.md").read_text("utf-8")
    assert written.strip() in shown
    assert "| DROV" in written and "| NLL" in written and "old" not in written
    # Thirty steps are too few, and it says so.
    assert "NOT REACHED" in written
    report = json.loads((tmp_path / "certificate.json").read_text("utf-8"))
    assert [(c["method"], c["holds"]) for c in report["claims"]] == [("DROV", False)]
    table = report["forms"]["table"]
    assert table["training"]["steps"] == 30
    figures = table["results"]["NLL"]["off-reference"]
    assert (
        figures["kl_from_limit"] < table["logged"]["off-reference"]["kl_to_reference"]
    )
    assert (tmp_path / "certificate.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "kept.txt").read_text() == "kept"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--objectives", "DRV"], "'DRV'.*near it: .*DROV"),
        (["--steps", "0"], "--steps must be at least 1"),
        (["--seed", "-1"], "--seed must be 0 or more"),
    ],
)
def test_what_cannot_be_is_said(flags, message, tmp_path, capsys):
    assert main(["certify", "--output_dir", str(tmp_path / "new"), *flags]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "new").exists()


def test_a_file_in_the_way_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["certify", "--output_dir", str(tmp_path / "file")]) == 2
    assert "--output_dir" in capsys.readouterr().err


def test_it_starts_without_tensorflow():
    code = """
import sys
from dro_jax.cli.main import main
assert main(["certify", "--output_dir", "unused", "--objectives", "none"]) == 2
print(*({"tensorflow", "seqio", "gin", "matplotlib"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
