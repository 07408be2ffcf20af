"""A reward that is given another prompt than the policy."""

import dataclasses
import re
from collections.abc import Sequence

from dro_jax.errors import ConfigError, DataError
from dro_jax.rewards.fingerprints import fingerprint
from dro_jax.rewards.interface import Reward, Scores

_SHOWN = 80


@dataclasses.dataclass(frozen=True)
class RewrittenPrompts:
    r"""Another reward's scores, its prompts rewritten by regular expressions.

    A classifier of faithfulness reads the knowledge of a prompt and not the dialogue
    behind it, one of dialogues the reverse, each in the form that it was trained on.
    The rules are applied one after another, each to what the one before left; each
    must find something, or the prompt is not of the form that they are made for.

    Attributes:
      reward: the other.
      rules: pairs of a pattern and what stands in the place of each of its matches, as
        `re.sub` reads them: `[('(?s)^Knowledge: (.*?)\s+Wizard:.*', r'\1')]`.
      name: what tables call it; None, as the other.

    Raises:
      ConfigError: there is no rule, or one is no pair of texts that `re` can use.
      DataError (when called): a prompt in which a pattern is not found.
    """

    reward: Reward
    rules: Sequence[tuple[str, str]]
    name: str | None = None

    def __post_init__(self):
        if self.name is None:
            object.__setattr__(self, "name", self.reward.name)
        if isinstance(self.rules, str) or not self.rules:
            raise ConfigError(
                "RewrittenPrompts.rules must be pairs of a pattern and a replacement, as "
                r"[('(?s)^Question: (.*)', r'\1')]"
            )
        for rule in self.rules:
            _checked(rule)

    @property
    def fingerprint(self) -> str:
        rules = [list(rule) for rule in self.rules]
        return fingerprint("RewrittenPrompts", self.reward.fingerprint, rules)

    @property
    def looks_at_others(self) -> bool:
        """Whether a score depends on the other responses of the call."""
        return getattr(self.reward, "looks_at_others", False)

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        return self.reward(list(map(self.rewritten, prompts)), responses)

    def rewritten(self, prompt: str) -> str:
        """What the reward is given in a prompt's place.

        Raises:
          DataError: a pattern is not found.
        """
        text = prompt
        for pattern, replacement in self.rules:
            text, count = re.subn(pattern, replacement, text)
            if not count:
                raise DataError(
                    f"the reward '{self.name}' looks for {pattern!r} in a prompt, and "
                    f"{prompt[:_SHOWN]!r} has none: set RewrittenPrompts.rules to the "
                    "form that your prompts have"
                )
        return text


def _checked(rule: object) -> None:
    try:
        pattern, replacement = rule
        re.sub(pattern, replacement, "")  # reads both, also where nothing matches
    except (ValueError, TypeError, re.error) as error:
        raise ConfigError(
            f"RewrittenPrompts.rules has {rule!r:.200}, which cannot be used ({error}): "
            r"give pairs of a pattern and a replacement, as ('(?s)^Question: (.*)', r'\1')"
        ) from error
