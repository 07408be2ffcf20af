"""The report of a task, against counts made by hand."""

import json

import pytest

from dro_jax.data.inspection import inspect_task, list_tasks
from dro_jax.data.inspection_plot import write_histogram
from dro_jax.data.inspection_text import report_text
from dro_jax.errors import ConfigError

# Tokens are bytes and an end-of-text token: prompts of 2, 4, 11 and responses of 3, 3, 6.
ROWS = [
    {"prompt": "a", "response": "no", "reward": 0},
    {"prompt": "abc", "response": "ab", "reward": 1},
    {"prompt": "abcdefghij", "response": "abcde", "reward": 2},
    {"prompt": "x", "response": "", "reward": 1},
]


@pytest.fixture
def report(register):
    register(
        ROWS, name="made_report", on_bad_record="drop", reward_transform="normalize"
    )
    return inspect_task("made_report", "train", {"inputs": 4, "targets": 5}, 2)


def test_lengths_truncation_and_padding(report):
    assert dict(report.prompt.percentiles)[50] == 4
    assert (report.prompt.max, report.response.max) == (11, 6)
    assert report.prompt.truncated_share == pytest.approx(1 / 3)
    assert report.response.truncated_share == pytest.approx(1 / 3)
    # Kept prompts 2 + 4 + 4 of 12 places, responses 3 + 3 + 5 of 15.
    assert report.prompt.padding_share == pytest.approx(2 / 12)
    assert report.response.padding_share == pytest.approx(4 / 15)
    assert report.padding_share == pytest.approx(6 / 27)
    # Nothing fits beside anything: 2 + 4 is more than 4, and so is 4 + 4.
    assert report.packed_padding_share == report.padding_share


def test_padding_when_packed(register):
    task = register(ROWS[:1] * 9)
    report = inspect_task(task.name, lengths={"inputs": 4, "targets": 8})
    # Tokens 2 and 3: two a row, the ninth alone.
    assert report.packed_padding_share == pytest.approx(1 - 9 * 5 / (5 * 12))
    assert "padding of both together: 58.3%, packed 25.0%" in report_text(report)
    assert report.to_json()["packed_padding_share"] == report.packed_padding_share
    assert inspect_task(task.name).packed_padding_share is None


def test_examples_rewards_and_records(report):
    first, last = report.examples
    assert (first.prompt, first.response, first.prompt_tokens) == ("a", "no", 2)
    assert last.identity.endswith("line 3")
    # Four and five tokens: the prompt's end with its end of text, the whole response.
    assert (last.prompt, last.response) == ("hij", "abcde")
    assert (last.recorded_reward, report.rewards.recorded.mean) == (2.0, 1.0)
    assert last.reward == pytest.approx((2 - 1) / (2 / 3) ** 0.5)
    assert report.histogram.counts == (1, 1, 1)
    assert report.records.reasons() == {"empty_response": 1}


def test_texts_are_shown_as_the_model_gets_them(register, sentencepiece_model):
    rows = [
        {"prompt": "the cat", "response": "sat\n on", "reward": 0},
        {"prompt": "a\tdog  ran", "response": "on Ω the Ω mat", "reward": 1},
    ]
    task = register(rows, vocabulary=sentencepiece_model)
    report = inspect_task(task.name, num_examples=2)
    assert report.examples[0].response == "sat on"
    prompt, response = report.prompt_fidelity, report.response_fidelity
    assert (prompt.num_changed, response.num_changed, prompt.num_texts) == (1, 2, 2)
    assert prompt.lost == {"tabs": 1, "runs of spaces": 1}
    assert response.lost == {"line breaks": 1, "other": 1}
    assert (response.num_unknown, response.num_with_unknown) == (2, 1)
    assert (response.example.text, response.example.read) == ("sat\n on", "sat on")
    text = report_text(report)
    for part in (
        "prompts that do not come back equal from their tokens: 1 of 2 (lost: tabs in 1",
        "    'sat\\n on'\n    is read as 'sat on'",
        "KEEP_WHITESPACE = True",
        "unknown pieces: 0 in 0 prompts, 2 in 1 responses",
    ):
        assert part in text
    assert (
        json.loads(json.dumps(report.to_json()))["prompt_fidelity"]["num_changed"] == 1
    )


def test_kept_white_space_comes_back(register, sentencepiece_model):
    rows = [{"prompt": "a\tdog  ran", "response": "sat\n on", "reward": 0}]
    task = register(
        rows, vocabulary=sentencepiece_model, extra_ids=3, keep_whitespace=True
    )
    report = inspect_task(task.name)
    assert (report.examples[0].prompt, report.examples[0].response) == (
        "a\tdog  ran",
        "sat\n on",
    )
    text = report_text(report)
    assert "all texts come back equal from their tokens\nunknown pieces: 0 in" in text
    assert ", white space kept" in text


def test_text(report):
    text = report_text(report)
    for part in (
        "made_report [train]: 3 records, vocabulary byte",
        "prompt (2 tokens):\n    a",
        "padding of both together: 22.2%",
        "transform: normalize",
        "records: 4 read, 1 dropped\n  empty_response: 1",
        "line 4: the response is empty",
    ):
        assert part in text
    row = next(line for line in text.splitlines() if line.startswith("response  "))
    assert row.split()[1:] == ["3", "5", "6", "6", "6", "5", "33.3%", "26.7%"]


def test_text_of_many_rewards_has_bars_for_all(register, trajectories):
    task = register(trajectories(100))
    text = report_text(inspect_task(task.name))
    counts = [int(line.split()[-1]) for line in text.splitlines() if "█" in line]
    assert len(counts) == 15
    assert sum(counts) == 100


def test_long_texts_are_shortened_to_both_ends(register):
    prompt = "begin " + "x" * 5000 + " end"
    task = register([{"prompt": prompt, "response": "r", "reward": 1}])
    text = report_text(inspect_task(task.name))
    assert "begin" in text
    assert "end" in text
    assert len(text) < 3000


def test_json(report):
    values = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert values["prompt"]["percentiles"]["p50"] == 4
    assert values["records"]["dropped"][0]["reason"] == "empty_response"
    assert values["rewards"]["transform"] == "normalize"
    assert values["histogram"]["counts"] == [1, 1, 1]


def test_without_lengths_nothing_is_cut(register):
    task = register(ROWS, on_bad_record="drop")
    report = inspect_task(task.name)
    assert (report.prompt.limit, report.response.limit) == (11, 6)
    assert report.prompt.truncated_share == report.response.truncated_share == 0


@pytest.mark.parametrize("count", [4, 100])
def test_histogram_png(register, trajectories, tmp_path, count):
    task = register(trajectories(count))
    path = tmp_path / "rewards.png"
    write_histogram(inspect_task(task.name), str(path))
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 5000


def test_list(register, mixture, tmp_path):
    task = register({"train": [], "dev": []}, name="made_listed")
    mixture("made_listed_mixture", [(task.name, 1.0)])
    rows = {line.split()[0]: line for line in list_tasks().splitlines()}
    assert "train, dev" in rows["made_listed"]
    assert rows["made_listed"].endswith("byte")
    assert "mixture of made_listed" in rows["made_listed_mixture"]
    register({"train": []}, name="made_told", about="Parcels, each with a thumb.")
    lines = list_tasks().splitlines()
    (place,) = (i for i, line in enumerate(lines) if line.startswith("made_told "))
    assert lines[place + 1] == "    Parcels, each with a thumb."


def test_unknown_task_and_lengths(register, trajectories):
    with pytest.raises(ConfigError, match="'made_nothing'"):
        inspect_task("made_nothing")
    task = register(trajectories(2))
    with pytest.raises(ConfigError, match="lacks 'targets'"):
        inspect_task(task.name, lengths={"inputs": 3})
