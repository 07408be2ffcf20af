"""`generate`, `score` and `env` by several processes, against one with as many devices."""

import json

import pytest
import serving
from several_processes import run_together

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serving")
    for name in ("pairs", "prompts"):
        serving.write_records(folder / f"{name}.jsonl")
    (folder / "one").mkdir()
    arguments = (str(folder), str(folder / "one"))
    run_together(serving.train_and_serve, *arguments, count=1, devices=4, timeout=300)
    return folder


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_two_processes_write_what_one_writes(folder, start, tmp_path):
    processes = start(serving.serve, str(folder), str(tmp_path), devices=2)
    assert processes.wait(300) == [0, 0], processes.ends_of_logs()
    for name in serving.COMMANDS:
        mine, theirs = tmp_path / f"{name}.jsonl", folder / "one" / f"{name}.jsonl"
        assert mine.read_bytes() == theirs.read_bytes()
        assert [record["n"] for record in lines(mine)] == list(range(7))
    greedy, sampled, spread, scored = (
        lines(tmp_path / f"{name}.jsonl") for name in serving.COMMANDS
    )
    assert len({record["responses"][0]["response"] for record in greedy}) > 1
    assert all(len(record["responses"]) == 3 for record in sampled)
    # One sample is the first of three, whatever the devices hold of the model.
    for one, three in zip(spread, sampled, strict=True):
        (only,), (first, *_) = one["responses"], three["responses"]
        assert only["response"] == first["response"]
        assert only["logprob"] == pytest.approx(first["logprob"], abs=1e-3)
    assert all(record["logprob"] < 0 for record in scored)
    evaluated = (tmp_path / "evaluated.json").read_text()
    assert evaluated == (folder / "one" / "evaluated.json").read_text()
    for run in json.loads(evaluated)["runs"]:
        assert run["settings"]["num_prompts"] == 7
        assert run["figures"]["kl"]["value"] == pytest.approx(0, abs=1e-4)
    shown = processes.log(0).splitlines()
    assert "devices: 4 × cpu (cpu), 2 processes" in shown
    assert "devices of each process: 2" in shown
    assert "devices" not in processes.log(1)


def test_the_first_reads_standard_input_and_its_refusal_is_everybodys(folder, start):
    words = (f"--model_dir={folder}/model", "--input=-", "--output=/dev/full")
    source = str(folder / "prompts.jsonl")
    processes = start(serving.command, source, "generate", *words)
    assert processes.wait(240) == [2, 2], processes.ends_of_logs()
    for rank in range(2):
        assert "--output /dev/full cannot be written" in processes.log(rank)
