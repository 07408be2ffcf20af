"""`dro-jax benchmark` at a tiny size: every figure is there, finite and in its place."""

import dataclasses
import importlib.util
import json
import math

import pytest
import small

from dro_jax.benchmarks import (
    async_save,
    data,
    decode,
    decode_peers,
    logprob,
    logratio_noise,
    reference_cache,
    start,
    step,
    workload,
)
from dro_jax.benchmarks.timing import Figure, in_turn, ratio
from dro_jax.cli import benchmark_command
from dro_jax.cli.main import main


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.delenv("DRO_JAX_DATA", raising=False)
    monkeypatch.setattr(
        workload, "MINI", dataclasses.replace(small.NETWORK, vocab_size=384)
    )
    monkeypatch.setattr(workload, "LENGTHS", {"inputs": 64, "targets": 32})
    monkeypatch.setattr(async_save, "STEPS_A_SAVE", 2)
    monkeypatch.setattr(decode, "PROMPTS", 6)
    monkeypatch.setattr(decode_peers, "ROWS", 4)
    monkeypatch.setattr(decode_peers, "LENGTH", 4)
    monkeypatch.setattr(logratio_noise, "_BATCHES", 1)
    monkeypatch.setattr(logratio_noise, "_TRAINED_FOR", 1)
    # Each network and layout compiles programs of its own.
    compared = ("bfloat16", "bfloat16_float32_residual")
    networks = {name: logratio_noise._NETWORKS[name] for name in compared}
    monkeypatch.setattr(logratio_noise, "_NETWORKS", networks)
    monkeypatch.setattr(logratio_noise, "_LAYOUTS", {"packed": True})
    monkeypatch.setattr(step, "LAYERS", small.NETWORK.num_encoder_layers)
    monkeypatch.setattr(step, "SIDES", (32, 64))
    # What it trains is compiled twice a case.
    monkeypatch.setattr(
        reference_cache,
        "_CASES",
        {
            name: case
            for name, case in reference_cache._CASES.items()
            if name.endswith("shared_head")
        },
    )
    monkeypatch.setattr(benchmark_command, "_PARTS", dict(benchmark_command._PARTS))
    for part in ("data", "start"):  # have tests of their own
        del benchmark_command._PARTS[part]
    for name, size in {"ROWS": 4, "LENGTH": 8, "DIM": 8, "VOCABULARY": 50}.items():
        monkeypatch.setattr(logprob, name, size)


@pytest.mark.slow
def test_prints_a_table_and_writes_json(tiny, tmp_path, capsys):
    path = tmp_path / "figures.json"
    assert main(["benchmark", "--rounds", "1", "--json", str(path)]) == 0
    report = json.loads(path.read_text())
    for name in (
        "step.share_of_peak",
        "step.trajectories_per_second",
        "step.trajectories_per_second_shared_prompts",
        "packing.speedup",
        "packing.padding_share",
        "reference_cache.speedup_dro_v_shared_head",
        "logprob.memory_ratio",
        "logprob.time_ratio",
        "async_save.overhead",
        "logratio_noise.bfloat16.cached.packed.rms",
        "logratio_noise.float32_residual_cost",
        "decode.greedy_speedup_padded",
        "decode.sampled_tokens_per_second_padded",
    ):
        low, high = report[f"{name}.spread"]
        assert math.isfinite(report[name])
        assert low <= report[name] <= high
    shares = {n: x for n, x in report.items() if n.startswith("step.time_share_")}
    shares = {n: x for n, x in shares.items() if not n.endswith(".spread")}
    assert sum(shares.values()) == pytest.approx(1)
    for part in ("attention", "projections", "feed_forward", "logits"):
        assert 0 < shares[f"step.time_share_{part}"] < 1
    assert 0 < report["packing.padding_share"] < report["packing.padding_share_padded"]
    assert report["logprob.gradient_difference"] < 1e-5
    assert report["decode.greedy_same_padded"] == 1
    for peer, package in (("transformers", "torch"), ("t5x", "t5x")):
        there = importlib.util.find_spec(package) is not None
        assert (f"decode.sampled_speedup_{peer}" in report) == there
        if there:
            # Ours never chooses padding, which random weights may.
            assert report[f"decode.greedy_same_{peer}"] > 0.5
    assert report["machine"]["jax"]
    assert "packing.speedup" in capsys.readouterr().out


def test_a_ratio_is_taken_round_by_round():
    figure = ratio([2.0, 6.0, 30.0], [1.0, 2.0, 5.0])
    assert figure == Figure(median=3.0, low=2.0, high=6.0)


def test_calls_take_turns():
    calls = []
    times = in_turn(lambda: calls.append("a"), lambda: calls.append("b"), rounds=3)
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab"
    assert [len(seconds) for seconds in times] == [3, 3]


@pytest.mark.slow
def test_data_is_measured_in_processes_of_its_own(monkeypatch, tmp_path, capfd):
    monkeypatch.setattr(data, "SECONDS", 0.2)
    path = tmp_path / "figures.json"
    flags = ["--rounds=1", "--records", "300", f"--data_dir={tmp_path / 'data'}"]
    assert main(["benchmark", "--only=data", f"--json={path}", *flags]) == 0
    assert "absl" not in capfd.readouterr().err  # TensorFlow's start-up notes
    report = json.loads(path.read_text())
    for which in ("first", "second"):
        for figure in ("seconds", "records_per_second", "trajectories_per_second"):
            assert report[f"data.300.{which}_start.{figure}"] > 0
    assert (tmp_path / "data" / "300" / "vocabulary.model").exists()


@pytest.mark.slow
def test_starts_are_measured_in_processes_of_their_own(tmp_path, monkeypatch):
    """One process a command: a second start is the same command once more."""
    path, seconds, measured = tmp_path / "figures.json", start._seconds, {}

    def once(folder, arguments, until=None):
        if arguments[0] not in measured:
            measured[arguments[0]] = seconds(folder, arguments, until)
        return measured[arguments[0]]

    monkeypatch.setattr(start, "_seconds", once)
    assert main(["benchmark", "--only=start", f"--json={path}", "--rounds=1"]) == 0
    report = json.loads(path.read_text())
    assert measured.keys() == {"train", "generate", "tasks"}
    for figure in ("train", "first.train", "generate", "first.generate", "tasks_list"):
        assert report[f"start.{figure}_seconds"] > 0


def test_sizes_are_those_of_data(capsys):
    assert main(["benchmark", "--only=packing", "--records", "5"]) == 2
    assert "--records is for --only data" in capsys.readouterr().err
    assert main(["benchmark", "--only=data", "--records", "0"]) == 2
    assert "give numbers of 1 or more" in capsys.readouterr().err
