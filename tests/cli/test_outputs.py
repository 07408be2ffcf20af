"""Where files can be written, what becomes of links, pipes and devices, and names."""

import bz2
import gzip
import json
import lzma
import os
import threading

import pyarrow
import pytest

from dro_jax.cli.main import main
from dro_jax.cli.outputs import Output, check_folder
from dro_jax.cli.result_fields import ResultFields
from dro_jax.data.records import RawRecord
from dro_jax.errors import ConfigError

RECORDS = [
    {"prompt": "sep\u2028line\u2029\r\n\t\0\x85"},
    {"half": "\ud800", "n": 2**70},
]


def lines(data: bytes):
    return [json.loads(line) for line in data.removesuffix(b"\n").split(b"\n")]


def unzstd(data: bytes):
    with pyarrow.CompressedInputStream(pyarrow.BufferReader(data), "zstd") as stream:
        return stream.read()


def write(path):
    assert Output.at("--output", path).write_records(RECORDS) == len(RECORDS)


def test_records_come_back(tmp_path):
    write(tmp_path / "out.jsonl")
    assert lines((tmp_path / "out.jsonl").read_bytes()) == RECORDS
    assert os.listdir(tmp_path) == ["out.jsonl"]


@pytest.mark.parametrize(
    ("ending", "decompress"),
    [
        (".gz", gzip.decompress),
        (".bz2", bz2.decompress),
        (".xz", lzma.decompress),
        (".ZST", unzstd),
    ],
)
def test_a_name_asks_for_compression(ending, decompress, tmp_path):
    path = tmp_path / f"out.jsonl{ending}"
    write(path)
    assert lines(decompress(path.read_bytes())) == RECORDS
    before = path.read_bytes()
    write(path)
    assert path.read_bytes() == before


def test_a_file_keeps_its_mode_and_is_kept_where_work_fails(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("old")
    path.chmod(0o640)

    def failing():
        yield {"a": 1}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Output.at("--output", path).write_records(failing())
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["out.jsonl"]
    write(path)
    assert lines(path.read_bytes()) == RECORDS
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link.jsonl").symlink_to("there/file.jsonl")
    for _ in range(2):  # first it leads nowhere
        write(tmp_path / "link.jsonl")
        assert (tmp_path / "link.jsonl").is_symlink()
        assert lines((tmp_path / "there" / "file.jsonl").read_bytes()) == RECORDS


def test_a_pipe_is_written_through(tmp_path):
    pipe, found = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    write(pipe)
    reader.join()
    assert lines(found[0]) == RECORDS and pipe.is_fifo()


def test_devices_and_open_files(tmp_path, capfdbinary):
    write("/dev/null")
    assert not os.path.isfile("/dev/null")
    for path in ("-", "/dev/stdout", "/dev/fd/1"):
        write(path)
        assert lines(capfdbinary.readouterr().out) == RECORDS
    with open(tmp_path / "open", "wb+") as file:
        for _ in range(2):
            write(f"/dev/fd/{file.fileno()}")
        file.seek(0)
        assert lines(file.read()) == 2 * RECORDS


def test_a_reader_that_has_gone():
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(ConfigError, match="nobody reads it any more"):
        write(f"/dev/fd/{writing}")
    os.close(writing)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("folder", "it is a folder"),
        ("new/", "it is a folder"),
        ("to_folder", "it is a folder"),
        ("none/out.jsonl", "none does not exist: make it first"),
        ("file/out.jsonl", "Not a directory|is no folder"),
        ("around", "Too many levels of symbolic links"),
        ("x" * 300, "File name too long"),
        ("/proc/out.jsonl", "cannot be written"),
        ("/dev/fd/987", "Bad file descriptor"),
        ("gs://bucket/out.jsonl", "local folders alone"),
        ("$NOT_SET_AT_ALL/out.jsonl", "not set"),
        ("nul\0", "null byte"),
    ],
)
def test_the_place_is_checked_before_anything_else(
    path, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    os.mkdir("folder")
    os.symlink("folder", "to_folder")
    os.symlink("around", "around")
    (tmp_path / "file").write_text("")
    before = sorted(os.listdir())
    with pytest.raises(ConfigError, match=message):
        Output.at("--output", path)
    # No model lies there, and nothing is imported to find that out.
    flags = ["--model_dir=/none", "--input=/none", f"--output={path}"]
    assert main(["generate", *flags]) == 2
    assert path.split("/")[0] in capsys.readouterr().err
    assert sorted(os.listdir()) == before


def test_home_and_variables_are_put_in(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write("~/a.jsonl")
    write("$HOME/b.jsonl")
    assert sorted(os.listdir(tmp_path)) == ["a.jsonl", "b.jsonl"]


def test_records_need_a_place_of_their_own(tmp_path):
    (tmp_path / "in.jsonl").write_text("{}")
    (tmp_path / "again.jsonl").symlink_to("in.jsonl")
    for path, source, message in (
        ("out.csv", "in.jsonl", "JSON lines, not as tables"),
        ("again.jsonl", "in.jsonl", "is read by --input"),
        ("new.jsonl", "", "is read by --input"),
    ):
        output = Output.at("--output", tmp_path / path)
        with pytest.raises(ConfigError, match=message):
            output.check_holds_records(str(tmp_path / source))
    Output.at("--output", tmp_path / "o").check_holds_records(
        str(tmp_path / "in.jsonl")
    )


def test_two_files_and_messages(tmp_path, capfd):
    flags = ["tasks", "inspect", "none", f"--json={tmp_path}/a", f"--png={tmp_path}/a"]
    assert main(flags) == 2
    assert "--json and --png both write" in capfd.readouterr().err
    # Messages make room for an output.
    inspect = ["tasks", "inspect", "support_desk", "--split=validation"]
    assert main([*inspect, "--json=-"]) == 0
    shown = capfd.readouterr()
    assert json.loads(shown.out)["name"] == "support_desk"
    assert "support_desk [validation]" in shown.err


def test_folders_are_checked_too(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert check_folder("--output_dir", tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert os.listdir(tmp_path) == ["file"]
    for command in ("certify", "quickstart"):
        for place in (tmp_path / "file", tmp_path / "file" / "a", "/proc/a"):
            assert main([command, f"--output_dir={place}"]) == 2
            assert f"--output_dir {place} cannot" in capsys.readouterr().err
    (tmp_path / "report.json").mkdir()
    assert main(["quickstart", f"--output_dir={tmp_path}"]) == 2
    assert "report.json cannot be written (it is a folder" in capsys.readouterr().err


def test_fields_that_would_be_overwritten():
    records = [RawRecord("f line 1", {"a": 1}), RawRecord("f line 2", {"logprob": 1})]
    names = ("logprob", "value")
    with pytest.raises(
        ConfigError, match=r"f line 2 .*--rename_field logprob=NEW_NAME"
    ):
        ResultFields(names).check_free(records, "logprob")
    ResultFields(names).check_free(records, "value")
    fields = ResultFields(names, ["logprob=mine"])
    fields.check_free(records, "logprob")
    added = fields.added_to({"logprob": 1}, {"logprob": 2.0, "value": 3.0})
    assert added == {"logprob": 1, "mine": 2.0, "value": 3.0}


@pytest.mark.parametrize(
    ("rename", "message"),
    [
        (["logprob"], "NAME=OTHER"),
        (["logprob="], "NAME=OTHER"),
        (["logprop=a"], "did you mean logprob"),
        (["logprob=a", "logprob=b"], "two names"),
        (["logprob=value"], "one name to two fields"),
    ],
)
def test_renames_that_say_nothing(rename, message):
    with pytest.raises(ConfigError, match=message):
        ResultFields(("logprob", "value"), rename)


def test_an_empty_path_is_named_at_once():
    """It would stand for the current folder, and be refused after the work."""
    for make in (Output.at, check_folder):
        with pytest.raises(ConfigError, match="--output is given nothing: name a path"):
            make("--output", "")


@pytest.mark.parametrize("name", ["out.csv", "OUT.CSV.gz", "out.parquet.zst"])
def test_records_go_into_no_table(name, tmp_path):
    with pytest.raises(ConfigError, match="records are written as JSON lines"):
        Output.at("--output", tmp_path / name).check_holds_records("-")


def test_what_is_read_is_not_written(tmp_path, monkeypatch):
    """Nor what would be read the next time, as a folder's or pattern's new file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").touch()
    for source in ("in", "in/a.jsonl", "in/*.jsonl", str(tmp_path / "in" / "?.jsonl")):
        for target in ("in/a.jsonl", "in/b.jsonl"):
            output = Output.at("--output", target)
            if source == "in/a.jsonl" and target != source:
                output.check_holds_records(source)
                continue
            with pytest.raises(ConfigError, match="would be replaced or read again"):
                output.check_holds_records(source)
    for source in ("in", "in/*.jsonl", "-"):
        Output.at("--output", "b.jsonl").check_holds_records(source)


def test_a_descriptor_that_is_no_number_of_the_systems_is_refused():
    with pytest.raises(ConfigError, match="cannot be written"):
        Output.at("--output", f"/dev/fd/{10**20}")
