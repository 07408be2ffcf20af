"""What A-LoL's experiments reward in dialogues about a passage: four attributes summed.

faithfulness + fluency + engagement + diversity, each in [0, 1]:

- faithfulness: the probability that the reply follows from the knowledge, by FaithDial's
  critic, which reads the two;
- fluency: the probability that the reply is acceptable English, by a classifier of CoLA,
  which reads the reply alone;
- engagement: the probability that a reply gets replies itself, by DialogRPT, which reads
  the dialogue, its turns parted by its end of text, and the reply;
- diversity: the mean tf-idf of the reply's words, :class:`dro_jax.rewards.Distinctness`.

Source: Baheti et al. 2024 (arXiv 2305.14718), by their code
(https://github.com/abaheti95/LoL-RL, utils/rl_utils.py, the tasks `WOW`, `faithdial` and
`faithdial_wow`): which classifiers, what each reads, and a sum without weights.
"""

import os
from collections.abc import Sequence
from typing import Any

from dro_jax.rewards import (
    CachedReward,
    Classifier,
    Distinctness,
    RewrittenPrompts,
    WeightedSum,
)

FAITHFULNESS = "McGill-NLP/roberta-large-faithcritic"
FLUENCY = "textattack/roberta-base-CoLA"
ENGAGEMENT = "microsoft/DialogRPT-depth"
NAMES = ("faithfulness", "fluency", "engagement", "diversity")
_END_OF_TEXT = "<|endoftext|>"
_SPEAKER = "(?:Apprentice|Wizard):"
# The prompts of `dro_jax.data.layouts.grounded_dialogues`, whatever parts their turns.
_KNOWLEDGE = ((rf"(?s)^Knowledge: (.*?)\s+{_SPEAKER}.*", r"\1"),)
_DIALOGUE = (
    (rf"(?s)^Knowledge: .*?\s+{_SPEAKER}\s*", ""),
    (rf"\s+{_SPEAKER}\s*", _END_OF_TEXT),
)


def dialogue_reward(
    corpus: str,
    corpus_layout: str = "wizard_of_wikipedia",
    *,
    faithfulness: str = FAITHFULNESS,
    fluency: str = FLUENCY,
    engagement: str = ENGAGEMENT,
    weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    batch_size: int = 32,
    device: str | None = None,
    dtype: str = "float32",
) -> WeightedSum:
    """The sum of the four attributes, each a part of it in tables.

    Args:
      corpus: files whose replies say which words are usual: those that are trained on.
      corpus_layout: what an object of them holds, a name in `dro_jax.data.layouts`.
      faithfulness, fluency, engagement: folders of classifiers, or names on the hub; in
        each the label that counts is the paper's: the first of the critic, the second of
        CoLA's, the only one of DialogRPT.
      weights: of faithfulness, fluency, engagement and diversity.
      batch_size, device, dtype: as :class:`dro_jax.rewards.Classifier` has them.

    Raises:
      ConfigError: a setting cannot be used.
    """

    def classifier(path: str, name: str, label: int, template: str) -> CachedReward:
        return CachedReward(
            Classifier(
                os.fspath(path),
                label=label,
                output="probability",
                template=template,
                batch_size=batch_size,
                device=device,
                dtype=dtype,
                name=name,
            )
        )

    critic = classifier(faithfulness, NAMES[0], 0, "pair")
    ranker = classifier(engagement, NAMES[2], 0, "{prompt}{response}")
    members: list[Any] = [
        RewrittenPrompts(critic, _KNOWLEDGE),
        classifier(fluency, NAMES[1], 1, "{response}"),
        RewrittenPrompts(ranker, _DIALOGUE),
        Distinctness(corpus, layout=corpus_layout),
    ]
    return WeightedSum(members, list(weights), names=list(NAMES), name="attributes")
