import json
import re

import gin
import pytest
from faulty_server import FaultyServer

from dro_jax import rewards, shipped_names
from dro_jax.cli import gin_setup
from dro_jax.cli.main import main
from dro_jax.cli.named_rewards import named_rewards
from dro_jax.errors import CheckpointError, ConfigError
from dro_jax.tasks.commonsense_critic import CommonsenseCritic

FOLDER = shipped_names.FOLDER / "gin_configs/rewards"
RECORDS = [
    {"prompt": "say one", "response": "one.", "n": 1},
    {"prompt": "say two", "response": "one two, sorry", "n": 2},
    {"prompt": "say none", "response": "?!", "n": 3},
]


@pytest.fixture(autouse=True)
def _clean(monkeypatch, tmp_path):
    monkeypatch.setenv("DRO_JAX_SCORES_DIR", str(tmp_path / "scores"))
    yield
    gin.clear_config()


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    return path


def score(log, name, *flags):
    output = log.with_name("scored.jsonl")
    words = ["reward", f"--gin_file=gin_configs/rewards/{name}.gin", *flags]
    status = main([*words, f"--input={log}", f"--output={output}"])
    if status:
        return status
    return [json.loads(line) for line in output.read_text().splitlines()]


NEEDED = {
    "http": ["SCORER_URL = 'http://127.0.0.1:9/'"],
    "classifier": ["CLASSIFIER = '/models/reward'"],
    "reward_model": ["REWARD_MODEL_DIR = '/no/such/run'"],
    "commonsense": ["CRITIC = '/models/critic'"],
    "reddit": ["SAFETY_CLASSIFIER = '/models/safety'", "SAFE_LABEL = 0"],
}
KINDS = {
    "length": rewards.Length,
    "support_desk": rewards.TaskReward,
    "distinctness": rewards.Distinctness,
    "weighted": rewards.WeightedSum,
    "http": rewards.HttpScorer,
    "classifier": rewards.Classifier,
    "commonsense": CommonsenseCritic,
    "reddit": rewards.WeightedSum,
    "dialogue": rewards.WeightedSum,
}


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.gin")))
def test_every_file_of_a_reward_is_built(name):
    gin_setup.parse([f"gin_configs/rewards/{name}.gin"], NEEDED.get(name, []))
    if name == "reward_model":  # which looks for the run at once
        with pytest.raises(CheckpointError, match="/no/such/run"):
            named_rewards()
        return
    (reward,) = named_rewards()
    if name in NEEDED and name != "reddit":  # whose members are
        assert isinstance(reward, rewards.CachedReward)
        reward = reward.reward
    assert type(reward) is KINDS[name]


def test_records_get_rewards_by_name_with_their_parts(log, capsys):
    first, second, third = score(log, "weighted")
    assert first == {
        **RECORDS[0],
        "reward": 1.02,
        "rewards": {"weighted_sum": 1.02},
        "reward_parts": {
            "weighted_sum": {
                "form": 1.0,
                "form/not_empty": 1.0,
                "form/ends_whole": 1.0,
                "apologies": 0.0,
                "length": 1.0,
                "length/length": 1.0,
            }
        },
    }
    assert second["reward"] == pytest.approx(0.5 - 0.5 + 0.06)
    assert third["reward"] == 1.02
    said = capsys.readouterr()
    head, total, *_ = said.out.splitlines()
    assert head.split() == [
        "mean",
        "std",
        "min",
        "5%",
        "25%",
        "50%",
        "75%",
        "95%",
        "max",
    ]
    # The mean of 1.02, 0.06 and 1.02.
    assert total.split()[:4] == ["weighted_sum", "0.7", "0.4525", "0.06"]
    assert "3 responses scored" in said.out


def test_several_rewards_and_other_fields(tmp_path, log):
    path = tmp_path / "two.gin"
    path.write_text(
        "from __gin__ import dynamic_registration\n"
        "from dro_jax import rewards\n"
        "REWARD = [@rewards.Length(), @rewards.Format()]\n"
        "rewards.Format.not_empty = True\n"
    )
    log.write_text('{"q": "p", "a": "one two", "reward": 3}\n')
    (found,) = score(
        log,
        "length",
        f"--gin_file={path}",
        "--prompt_field=q",
        "--response_field=a",
        "--rename_field=reward=words",
    )
    assert found == {
        "q": "p",
        "a": "one two",
        "reward": 3,
        "words": 2.0,
        "rewards": {"length": 2.0, "format": 1.0},
        "reward_parts": {"format": {"not_empty": 1.0}},
    }


def test_responses_as_generate_writes_them(log):
    responses = [{"response": "a b", "logprob": -1.0}, {"response": "a", "logprob": -2}]
    records = [
        {"prompt": "p", "responses": responses},
        {"prompt": "q", "responses": []},
    ]
    log.write_text("".join(json.dumps(record) + "\n" for record in records))
    first, second = score(log, "length")
    assert first["responses"] == [
        responses[0] | {"reward": 2.0, "rewards": {"length": 2.0}},
        responses[1] | {"reward": 1.0, "rewards": {"length": 1.0}},
    ]
    assert second == records[1]


def test_a_server_is_asked_once_and_a_killed_command_goes_on(log):
    def answer(body):
        return {"scores": [len(item["response"]) / 3 for item in body["items"]]}

    broken = True

    def fault(body, before):
        is_second = "two" in body["items"][0]["prompt"]
        return (400, {}, b"too dear") if broken and is_second else None

    with FaultyServer(answer, fault) as server:
        flags = [f"--gin.SCORER_URL={server.url}", "--gin.SCORER_BATCH_SIZE=1"]
        assert score(log, "http", *flags) == 2
        assert not log.with_name("scored.jsonl").exists()
        assert len(server.bodies) == 3
        broken = False
        found = score(log, "http", *flags)
        assert [record["reward"] for record in found] == [4 / 3, 14 / 3, 2 / 3]
        assert len(server.bodies) == 4
        score(log, "http", *flags)
        assert len(server.bodies) == 4


@pytest.mark.parametrize(
    "line, own, message",
    [
        ('{"prompt": "p"}', "", "line 1.*response"),
        ('{"prompt": "p", "response": "r", "reward": 1}', "", "--rename_field reward="),
        ('{"prompt": "p", "responses": ["r"]}', "", "as `dro-jax generate` writes"),
        ('{"prompt": "p", "response": " "}', "", "line 1.*empty"),
        ("", "", "holds no records"),
        ('{"prompt": "p", "response": "r"}', "REWARD = 3", "is no reward"),
    ],
)
def test_what_cannot_be_scored_is_told(line, own, message, log, capsys):
    log.write_text(line)
    gin_file = log.with_name("own.gin")
    gin_file.write_text(f"{own}\n")
    assert score(log, "length", f"--gin_file={gin_file}") == 2
    assert re.search(message, capsys.readouterr().err)


def test_no_reward_is_told(log, capsys):
    output = log.with_name("scored.jsonl")
    assert main(["reward", f"--input={log}", f"--output={output}"]) == 2
    assert "gin_configs/rewards/" in capsys.readouterr().err


def test_two_rewards_of_one_name_are_refused(tmp_path):
    path = tmp_path / "two.gin"
    path.write_text(
        "from __gin__ import dynamic_registration\n"
        "from dro_jax import rewards\n"
        "REWARD = [@rewards.Length(), @rewards.Length()]\n"
    )
    gin_setup.parse([str(path)], [])
    with pytest.raises(ConfigError, match="two rewards called 'length'"):
        named_rewards()
