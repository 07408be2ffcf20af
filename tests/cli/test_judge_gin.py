"""The gin files of judges: each is parsed and makes a judge."""

import pathlib

import gin
import pytest
from sheets_to_judge import key

from dro_jax.cli import gin_setup
from dro_jax.errors import ConfigError, UserError
from dro_jax.judges.llm_judge import LlmJudge
from dro_jax.judges.people_judge import PeopleJudge
from dro_jax.judges.reward_judge import RewardJudge
from dro_jax.judges.sheets import table

LLM = [
    "JUDGE_URL = 'http://localhost:1/v1'",
    "JUDGE_MODEL = 'small'",
    "JUDGE_INPUT_PRICE = 0.4",
    "JUDGE_OUTPUT_PRICE = 1.6",
]
FILES = sorted(pathlib.Path("gin_configs/judges").glob("*.gin"))


@pytest.fixture(autouse=True)
def _clean_gin():
    yield
    gin.clear_config()


def test_every_file_is_built_below():
    assert {path.stem for path in FILES} == {"llm", "people", "reward", "reward_model"}


def test_a_language_model_is_built():
    gin_setup.parse(["gin_configs/judges/llm.gin"], [*LLM, "JUDGE_MAX_COST = 1"])
    judge = gin_setup.macro("JUDGE")
    assert isinstance(judge, LlmJudge) and judge.name == "small"
    assert judge.prices.of(10**6, 10**6) == 2.0 and judge.prices.limit == 1
    assert judge.server.endpoint() == "http://localhost:1/v1/chat/completions"


def test_where_to_ask_and_what_it_costs_must_be_said():
    with pytest.raises(ConfigError, match="JUDGE_MODEL, JUDGE_OUTPUT_PRICE"):
        gin_setup.parse(["gin_configs/judges/llm.gin"], [LLM[0], LLM[2]])


def test_a_key_in_the_place_of_its_name_is_not_shown():
    gin_setup.parse(
        ["gin_configs/judges/llm.gin"], [*LLM, "JUDGE_KEY_VARIABLE = 'sk-123'"]
    )
    with pytest.raises(ConfigError, match="ends in API_KEY") as caught:
        gin_setup.macro("JUDGE")
    assert "sk-123" not in str(caught.value)


def test_another_reward_model_judges_than_the_one_that_rewards():
    gin_setup.parse(
        ["gin_configs/rewards/reward_model.gin", "gin_configs/judges/reward_model.gin"],
        ["REWARD_MODEL_DIR = 'nowhere/model'", "JUDGE_MODEL_DIR = 'nowhere/judge'"],
    )
    with pytest.raises(UserError, match="nowhere/judge"):
        gin_setup.macro("JUDGE")
    with pytest.raises(UserError, match="nowhere/model"):
        gin_setup.macro("REWARD")


def test_people_are_built(tmp_path):
    own = key()
    own.write(tmp_path / "key.json")
    (tmp_path / "ann.csv").write_text(table(own))
    for sheets in ("'{0}/ann.csv'", "['{0}/ann.csv']"):
        bindings = [
            f"JUDGE_SHEETS_KEY = '{tmp_path}/key.json'",
            f"JUDGE_SHEETS = {sheets.format(tmp_path)}",
        ]
        gin_setup.parse(["gin_configs/judges/people.gin"], bindings)
        judge = gin_setup.macro("JUDGE")
        assert isinstance(judge, PeopleJudge) and judge.name == "people"


def test_a_reward_must_be_given():
    with pytest.raises(ConfigError, match="required settings are missing: REWARD"):
        gin_setup.parse(["gin_configs/judges/reward.gin"], [])


def test_a_reward_is_built():
    # Anything that can be called will do here.
    reward = "REWARD = @reward_judge.RewardJudge"
    gin_setup.parse(["gin_configs/judges/reward.gin"], [reward, "JUDGE_MARGIN = 0.5"])
    judge = gin_setup.macro("JUDGE")
    assert isinstance(judge, RewardJudge) and judge.margin == 0.5
