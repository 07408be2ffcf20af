"""ATOMIC10x's seven relations, and a critic that reads inferences as sentences."""

import dataclasses
import re
from collections.abc import Sequence

from dro_jax.errors import ConfigError, DataError
from dro_jax.rewards.fingerprints import fingerprint
from dro_jax.rewards.interface import Reward, Scores

PROMPT = "<head> {head} </head> <relation> {relation} </relation> [GEN] "
# What the critic of ATOMIC10x reads in a relation's place (West et al. 2022).
RELATIONS = {
    "HinderedBy": "can be hindered by",
    "xNeed": "but before, PersonX needed",
    "xWant": "as a result, PersonX wants",
    "xIntent": "because PersonX wanted",
    "xReact": "as a result, PersonX feels",
    "xAttr": "so, PersonX is seen as",
    "xEffect": "as a result, PersonX",
}
_PROMPT = re.compile(
    r"\s*<head>(?P<head>.*)</head>\s*<relation>(?P<relation>.*)</relation>\s*\[GEN\]\s*",
    re.DOTALL,
)
_PERSONS = ("PersonX", "PersonY")


@dataclasses.dataclass(frozen=True)
class CommonsenseCritic:
    """Scores of a reward that is given an inference as two sentences.

    The prompt's head is the first; the relation in words and the tail are the second;
    people have names in both: "Alex sees a doctor", "as a result, Alex feels better".
    The critic of ATOMIC10x was trained on such pairs, with names drawn at random for
    each; here they are always the same, so that an inference has one score.

    Source: West et al. 2022, arXiv 2110.07178, as the code of Baheti et al. 2024 has it
    (https://github.com/abaheti95/LoL-RL, utils/comet_utils.py).

    Attributes:
      reward: the critic, as a `Classifier` with the template `pair`.
      names: of PersonX and PersonY.
      name: what tables call it.

    Raises:
      ConfigError: there are not two names.
      DataError (when called): a prompt is none of the task's.
    """

    reward: Reward
    names: Sequence[str] = ("Alex", "Jordan")
    name: str = "valid"

    def __post_init__(self):
        if len(self.names) != len(_PERSONS) or len(set(self.names)) != len(_PERSONS):
            raise ConfigError(
                f"CommonsenseCritic.names = {list(self.names)!r}: give two different names"
            )

    @property
    def fingerprint(self) -> str:
        return fingerprint(
            "CommonsenseCritic", self.reward.fingerprint, list(self.names)
        )

    @property
    def looks_at_others(self) -> bool:
        """Whether a score depends on the other responses of the call."""
        return getattr(self.reward, "looks_at_others", False)

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        pairs = [
            self.sentences(prompt, response)
            for prompt, response in zip(prompts, responses, strict=True)
        ]
        return self.reward([first for first, _ in pairs], [last for _, last in pairs])

    def sentences(self, prompt: str, tail: str) -> tuple[str, str]:
        """What the critic reads of an inference.

        Raises:
          DataError: the prompt is none of the task's, or its relation is unknown.
        """
        match = _PROMPT.fullmatch(prompt)
        relation = match["relation"].strip() if match else None
        if relation not in RELATIONS:
            raise DataError(
                f"the commonsense critic cannot read the prompt {prompt[:80]!r}: it must be "
                f"{PROMPT!r} with a relation of {', '.join(RELATIONS)}"
            )
        return (
            self._named(match["head"].strip()),
            self._named(f"{RELATIONS[relation]} {tail}"),
        )

    def _named(self, text: str) -> str:
        for person, name in zip(_PERSONS, self.names, strict=True):
            text = text.replace(person, name)
        return text
