import gin
import pytest

from dro_jax.cli import gin_setup
from dro_jax.cli.named_rewards import named_rewards
from dro_jax.errors import ConfigError

URL = "http://collector.example/score"
FILE = f"""\
from __gin__ import dynamic_registration
from dro_jax import rewards
WHERE = '{URL}'
REWARD = @rewards.HttpScorer()
rewards.HttpScorer.client = @rewards.HttpClient()
rewards.HttpClient.url = %WHERE
"""
KEY = "rewards.HttpClient.key_variable = 'SOMEBODYS_API_KEY'\n"
HTTP = "gin_configs/rewards/http.gin"


@pytest.fixture(autouse=True)
def _clean_gin():
    yield
    gin.clear_config()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "theirs.gin"
    path.write_text(FILE)
    return path


def test_a_file_does_not_say_where_texts_are_sent(file):
    with pytest.raises(ConfigError) as caught:
        gin_setup.parse([str(file)], [])
    for words in ("theirs.gin line 3", f"--gin.WHERE={URL}", "--allow_import=dro_jax."):
        assert words in str(caught.value)


def test_what_is_typed_is_the_persons_word(file):
    gin_setup.parse([str(file)], [f"WHERE = '{URL}'"])
    (reward,) = named_rewards()
    assert reward.client.url == URL
    gin_setup.parse([str(file)], ["WHERE = 'http://localhost:1/'"])
    gin_setup.parse([HTTP], [f"SCORER_URL = '{URL}'"])


def test_nor_whose_key_is_sent(file):
    file.write_text(FILE + KEY)
    with pytest.raises(ConfigError, match="which key is sent"):
        gin_setup.parse([str(file)], [f"WHERE = '{URL}'"])
    typed = [
        f"WHERE = '{URL}'",
        "rewards.HttpClient.key_variable = 'SOMEBODYS_API_KEY'",
    ]
    gin_setup.parse([str(file)], typed)
    typed = [f"SCORER_URL = '{URL}'", "SCORER_KEY_VARIABLE = 'MY_KEY'"]
    gin_setup.parse([HTTP], typed)


def test_a_file_may_be_trusted_with_it(file):
    file.write_text(FILE + KEY)
    gin_setup.parse([str(file)], [], "", ["dro_jax.rewards.http_client"])
    (reward,) = named_rewards()
    assert (reward.client.url, reward.client.key_variable) == (URL, "SOMEBODYS_API_KEY")


@pytest.mark.parametrize(
    "line",
    [
        f"a/rewards.HttpClient.url = '{URL}'",
        f"OTHER = '{URL}'\nrewards.HttpClient.url = %OTHER",
        f"A = '{URL}'\nB = %A\nrewards.HttpClient.url = %B",
        "rewards.HttpClient.url = @rewards.Length()",
    ],
)
def test_by_no_detour(line, tmp_path):
    path = tmp_path / "theirs.gin"
    path.write_text(FILE.replace(f"'{URL}'", "''") + line + "\n")
    with pytest.raises(ConfigError, match="where texts are sent"):
        gin_setup.parse([str(path)], [])
