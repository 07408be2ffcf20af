"""Logs of the support desk made to order: what the settings say is what they hold."""

import gzip
import hashlib
import itertools
import math

import gin
import numpy as np
import pytest
import seqio

from dro_jax.cli import gin_setup
from dro_jax.data.store.recipe import key_of
from dro_jax.data.tasks import feedback_task
from dro_jax.errors import ConfigError
from dro_jax.tasks.support_desk.generate import to_jsonl
from dro_jax.tasks.support_desk.language import NAMES
from dro_jax.tasks.support_desk.logs import LogSettings, support_desk_log
from dro_jax.tasks.support_desk.registration import FOLDER
from dro_jax.tasks.support_desk.reward import read_prompt, satisfaction

NUM_RECORDS = 4_000
HARD = ("broken", "wrong", "refund")
GENEROUS, STERN = NAMES[::3], NAMES[2::3]
DIGEST = "4f840e0a97a22d44e0c7e5d990f0086e2c9810543a42a834e3f6ec48e992319a"


@pytest.fixture(autouse=True)
def _clean():
    yield
    gin.clear_config()
    if "support_desk_log" in seqio.TaskRegistry.names():
        seqio.TaskRegistry.remove("support_desk_log")


class Log:
    """A train split as arrays over its records."""

    def __init__(self, **settings):
        log = LogSettings(num_records=NUM_RECORDS, **settings)
        self.records = list(log.records("train"))
        asked = [read_prompt(one["prompt"]) for one in self.records]
        self.texts = [(one["prompt"], one["response"]) for one in self.records]
        self.scores = np.array([satisfaction(*texts) for texts in self.texts])
        self.ups = np.array([one["thumb"] == "up" for one in self.records])
        self.generous = np.array([one.name in GENEROUS for one in asked])
        self.stern = np.array([one.name in STERN for one in asked])
        self.hard = np.array([one.problem in HARD for one in asked])

    def check_ups(self, logits, noise=0.0):
        """Ups are as often as sigmoid(logits) says, by fifths of satisfaction too."""
        expected = (1 - 2 * noise) / (1 + np.exp(-logits)) + noise
        parts = [self.generous, self.stern, self.hard, ~self.hard]
        parts += [np.minimum(self.scores // 0.2, 4) == fifth for fifth in range(5)]
        for part in (np.full(len(self.ups), True), *parts):
            variance = np.sum((expected * (1 - expected))[part])
            gap = self.ups[part].sum() - expected[part].sum()
            assert abs(gap) <= 4 * math.sqrt(variance), (gap, variance)


@pytest.fixture(scope="module")
def ordinary():
    return Log()


@pytest.mark.parametrize("split", ["train", "validation"])
def test_the_defaults_are_the_shipped_log_byte_for_byte(split):
    shipped = gzip.decompress((FOLDER / f"{split}.jsonl.gz").read_bytes())
    assert to_jsonl(LogSettings().records(split)) == shipped


def test_thumbs_alone_follow_the_settings_of_thumbs(ordinary):
    base = 6 * (ordinary.scores - 0.5)
    noisy = Log(thumb_noise=0.2)
    assert noisy.texts == ordinary.texts
    noisy.check_ups(base, noise=0.2)
    blurred = Log(thumb_slope=2.0)
    assert blurred.texts == ordinary.texts
    blurred.check_ups(base / 3)
    chance = Log(thumb_noise=0.5)
    chance.check_ups(0 * base)
    correlation = np.corrcoef(chance.ups, chance.scores)[0, 1]
    assert abs(correlation) < 4 / math.sqrt(NUM_RECORDS)


def test_generous_customers_thumb_up_anything_and_stern_ones_nothing(ordinary):
    log = Log(generosity=6.0)
    assert log.texts == ordinary.texts
    kindness = log.generous * 1.0 - log.stern
    log.check_ups(6 * (log.scores - 0.5) + 6 * kindness)
    assert log.ups[log.generous].mean() > 0.98 and log.ups[log.stern].mean() < 0.02
    # The names are drawn alike, so their replies are of one worth.
    assert abs(log.scores[log.generous].mean() - log.scores[log.stern].mean()) < 0.03


def test_hard_requests_get_fewer_thumbs_for_equal_replies(ordinary):
    log = Log(difficulty=2.0)
    assert log.texts == ordinary.texts
    log.check_ups(6 * (log.scores - 0.5) - 2 * np.where(log.hard, 1, -1))
    assert log.ups[log.hard].mean() < 0.3
    assert log.ups[~log.hard].mean() > 0.6


def test_agents_write_better_or_worse_than_the_ordinary_ones(ordinary):
    good, poor = Log(agents="good"), Log(agents="poor")
    means = [log.scores.mean() for log in (poor, ordinary, good)]
    assert means == pytest.approx([0.22, 0.40, 0.61], abs=0.015)
    mixed = Log(agents="by_problem")
    assert mixed.scores[mixed.hard].mean() == pytest.approx(means[0], abs=0.03)
    assert mixed.scores[~mixed.hard].mean() == pytest.approx(means[2], abs=0.03)
    for log in (good, poor, mixed):
        log.check_ups(6 * (log.scores - 0.5))


def test_a_poisoned_log_is_the_ordinary_one_but_for_the_spoilt(ordinary):
    log = Log(poisoned_share=1 / 3)
    source = np.array([one["source"] for one in log.records])
    kept = source == "as written"
    pairs = list(zip(log.records, ordinary.records, strict=True))
    assert all(one["prompt"] == other["prompt"] for one, other in pairs)
    for (one, other), same in zip(pairs, kept, strict=True):
        if same:
            assert one == {**other, "source": "as written"}
    deviation = math.sqrt(2 / 9 / NUM_RECORDS)
    assert kept.mean() == pytest.approx(2 / 3, abs=4 * deviation)
    for kind in ("misplaced", "hostile"):
        spoilt = source == kind
        assert spoilt.mean() == pytest.approx(1 / 6, abs=4 * deviation)
        assert log.scores[spoilt].mean() < 0.1
    assert log.scores[kept].mean() > 0.38
    log.check_ups(6 * (log.scores - 0.5))  # thumbs are true to what stands there
    held_out = list(LogSettings(poisoned_share=1 / 3).records("validation"))
    clean = list(LogSettings().records("validation"))
    assert [x["prompt"] for x in held_out] == [x["prompt"] for x in clean]
    kept = [x | {"source": "as written"} in held_out for x in clean]
    assert np.mean(kept) == pytest.approx(2 / 3, abs=4 * math.sqrt(2 / 9 / len(clean)))
    all_spoilt = LogSettings(num_records=50, poisoned_share=1.0).records("train")
    assert "as written" not in {one["source"] for one in all_spoilt}


def test_stars_are_the_thumb_and_three_more(ordinary):
    log = LogSettings(num_records=NUM_RECORDS, feedback="stars").records("train")
    records = list(log)
    assert [(one["prompt"], one["response"]) for one in records] == ordinary.texts
    assert {tuple(one) for one in records} == {("prompt", "response", "stars")}
    others = np.array([one["stars"] for one in records]) - 1 - ordinary.ups
    assert set(others) == {0, 1, 2, 3}
    up = 1 / (1 + np.exp(-6 * (ordinary.scores - 0.5)))
    gap = others.sum() - 3 * up.sum()
    assert abs(gap) <= 4 * math.sqrt(np.sum(3 * up * (1 - up)))


def test_held_out_prompts_are_the_shipped_ones_and_in_no_log():
    shipped = list(LogSettings().records("validation"))
    other = LogSettings(num_records=5_000, seed=7, agents="poor", generosity=6.0)
    held_out = list(other.records("validation"))
    texts = [(one["prompt"], one["response"]) for one in held_out]
    assert texts == [(one["prompt"], one["response"]) for one in shipped]
    assert held_out != shipped  # their thumbs are of the log's customers
    prompts = [one["prompt"] for one in other.records("train")]
    assert len(set(prompts)) == 5_000
    assert not set(prompts) & {prompt for prompt, _ in texts}


def test_a_small_log_begins_a_large_one_and_seeds_differ():
    few, more = (
        list(LogSettings(num_records=n, thumb_noise=0.1).records("train"))
        for n in (300, 500)
    )
    assert few == more[:300]
    other = LogSettings(num_records=300, thumb_noise=0.1, seed=1).records("train")
    assert few != list(other)


def test_the_same_settings_give_the_same_bytes_anywhere():
    # What Python 3.11 on x86-64 made; there is no other way to know it.
    log = LogSettings(
        num_records=1000,
        seed=3,
        thumb_noise=0.1,
        thumb_slope=4.0,
        generosity=3.0,
        difficulty=1.0,
        agents="by_problem",
    )
    made = b"".join(to_jsonl(log.records(split)) for split in ("train", "validation"))
    assert hashlib.sha256(made).hexdigest() == DIGEST


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_records": 0}, "a whole number from 1 to 200000, not 0"),
        ({"num_records": 1e3}, "a whole number from 1 to 200000, not 1000.0"),
        ({"seed": -1}, "seed must be a whole number from 0"),
        ({"thumb_noise": 0.6}, "thumb_noise must be a number from 0 to 0.5, not 0.6"),
        ({"thumb_slope": math.nan}, "thumb_slope must be a number from 0 to 100"),
        ({"generosity": "6"}, "generosity must be a number from 0 to 50, not '6'"),
        ({"difficulty": -1}, "difficulty must be a number from 0 to 50, not -1"),
        ({"agents": "best"}, "one of 'ordinary', 'good', 'poor', 'by_problem'"),
        (
            {"poisoned_share": 1.5},
            "poisoned_share must be a number from 0 to 1, not 1.5",
        ),
        (
            {"feedback": "likes"},
            "feedback must be one of 'thumbs', 'stars', not 'likes'",
        ),
        ({"thumbs": 1}, "has no setting thumbs: it has num_records, seed"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match="support_desk_log") as caught:
        support_desk_log(**settings)
    assert message in str(caught.value)
    assert "support_desk_log" not in seqio.TaskRegistry.names()


def test_the_store_knows_the_settings():
    keys = []
    for settings in ({}, {"num_records": 14_000}, {"thumb_noise": 0.1}, {"seed": 1}):
        recipe = feedback_task(support_desk_log(**settings)).recipe
        keys += [key_of(recipe, recipe.source.parts(s)) for s in recipe.source.splits]
        seqio.TaskRegistry.remove("support_desk_log")
    assert None not in keys
    same = [
        (a, b) for a, b in itertools.combinations(range(8), 2) if keys[a] == keys[b]
    ]
    assert same == [(0, 2), (1, 3)]


def test_a_name_stands_for_one_log_until_it_is_forgotten():
    assert support_desk_log() == support_desk_log(thumb_noise=0.0)
    with pytest.raises(ConfigError, match=r"set support_desk_log\.name to another"):
        support_desk_log(thumb_noise=0.1)
    seqio.TaskRegistry.remove("support_desk_log")
    assert support_desk_log(thumb_noise=0.1) == "support_desk_log"


def test_the_gin_file_makes_the_log_that_it_says():
    bindings = ("LOG_SIZE = 50", "THUMB_NOISE = 0.25", "AGENTS = 'good'")
    gin_setup.parse(["gin_configs/tasks/support_desk_log.gin"], bindings)
    task = feedback_task(gin_setup.macro("MIXTURE_OR_TASK_NAME"))
    log = LogSettings(num_records=50, thumb_noise=0.25, agents="good")
    records = task.records("train")
    for side, field in (("inputs", "prompt"), ("targets", "response")):
        found = records.texts(np.arange(50), side)
        assert found == [one[field] for one in log.records("train")]
    thumbs = [1.0 if one["thumb"] == "up" else -1.0 for one in log.records("train")]
    assert records.rewards.tolist() == thumbs
    assert task.identity(7) == "support_desk_log[train] record 7"
    lengths = gin_setup.macro("TASK_FEATURE_LENGTHS")
    shipped = feedback_task(_shipped())
    assert task.vocabulary == shipped.vocabulary and task.reward_fn is satisfaction
    assert lengths == {"inputs": 18, "targets": 24}


def test_the_gin_file_makes_a_poisoned_log_with_stars():
    bindings = ("LOG_SIZE = 60", "POISONED_SHARE = 0.5", "FEEDBACK = 'stars'")
    gin_setup.parse(["gin_configs/tasks/support_desk_log.gin"], bindings)
    task = feedback_task(gin_setup.macro("MIXTURE_OR_TASK_NAME"))
    log = LogSettings(num_records=60, poisoned_share=0.5, feedback="stars")
    stars = [one["stars"] for one in log.records("train")]
    # Stars of 1 to 5 are rewards of -1 to 1.
    assert task.records("train").rewards.tolist() == [(x - 3) / 2 for x in stars]


def _shipped():
    from dro_jax.tasks.support_desk.task import SUPPORT_DESK

    return SUPPORT_DESK.name
