import numpy as np
import pytest

from dro_jax.errors import ConfigError, DataError
from dro_jax.rewards import Distinctness, Length, RewrittenPrompts, Scores, WeightedSum


class Echo:
    """A reward that tells the prompts it was given."""

    name = "echo"
    fingerprint = "echo"

    def __call__(self, prompts, responses):
        self.prompts = prompts
        lengths = np.array(list(map(len, prompts)), np.float64)
        return Scores(lengths, {"half": lengths / 2})


PROMPT = (
    "Knowledge: Tea is hot.\n\nHuman: Tea?\n\nWizard: Yes.\n\nHuman: Why?\n\nWizard:"
)
KNOWLEDGE = [(r"(?s)^Knowledge: (.*?)\s+(?:Human|Wizard):.*", r"\1")]
DIALOGUE = [
    (r"(?s)^Knowledge: .*?\s+(?:Human|Wizard):\s+", ""),
    (r"\s+(?:Human|Wizard):\s*", "|"),
]


@pytest.mark.parametrize(
    ("rules", "given"), [(KNOWLEDGE, "Tea is hot."), (DIALOGUE, "Tea?|Yes.|Why?|")]
)
def test_the_reward_is_given_what_the_rules_leave(rules, given):
    echo = Echo()
    reward = RewrittenPrompts(echo, rules)
    found = reward([PROMPT, PROMPT.replace("\n\n", " ")], ["a", "b"])
    assert echo.prompts == [given] * 2
    assert found.total.tolist() == [len(given)] * 2
    assert found.parts["half"].tolist() == [len(given) / 2] * 2
    assert reward.name == "echo" != RewrittenPrompts(echo, rules, "faithful").name


def test_a_prompt_of_another_form_is_told_of():
    reward = RewrittenPrompts(Length(), KNOWLEDGE)
    with pytest.raises(
        DataError, match=r"'length' looks for .*'Human: Tea\?' has none"
    ):
        reward([PROMPT, "Human: Tea?"], ["a", "b"])


def test_rules_tell_fingerprints_apart():
    made = [Length(), RewrittenPrompts(Length(), KNOWLEDGE)]
    made += [RewrittenPrompts(Length(), DIALOGUE), RewrittenPrompts(Echo(), DIALOGUE)]
    assert len({reward.fingerprint for reward in made}) == 4


def test_whether_a_score_looks_at_others_is_seen_through_it():
    for corpus, looks in ((None, True), ("log.jsonl", False)):
        reward = RewrittenPrompts(Distinctness(corpus), KNOWLEDGE)
        assert reward.looks_at_others is looks
        assert WeightedSum([Length(), reward], [1, 1]).looks_at_others is looks


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([], "must be pairs"),
        ("ab", "must be pairs"),
        ([("a",)], "not enough values"),
        ([("(a", "b")], "unterminated"),
        ([("a", r"\1")], "invalid group reference"),
        ([("a", None)], "cannot be used"),
    ],
)
def test_rules_that_cannot_be_used_are_refused(rules, message):
    with pytest.raises(ConfigError, match=message):
        RewrittenPrompts(Length(), rules)
