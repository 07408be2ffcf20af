"""Layouts by name: the shapes of a log of one's own, and of what people download."""

import difflib
from collections.abc import Mapping
from typing import Any

from dro_jax.data.layouts import grounded_dialogues
from dro_jax.data.layouts.layout import Layout
from dro_jax.data.layouts.lists import expand_completions, expand_list, expand_pro
from dro_jax.data.layouts.oasst import MessageTrees
from dro_jax.data.layouts.pairs import (
    expand_dialogues,
    expand_pair,
    expand_trl_pair,
)
from dro_jax.data.records import DROP
from dro_jax.errors import ConfigError

__all__ = ["LAYOUTS", "Layout", "find_layout", "settings_of"]

_UNPAIRED = {
    "response_field": "completion",
    "reward_field": "label",
    "reward_kind": "thumbs",
}
LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("trajectories", "one prompt, one response, one reward"),
        Layout(
            "pairs", "chosen and rejected, with a prompt or without", {}, expand_pair
        ),
        Layout("lists", "a prompt, its responses and their rewards", {}, expand_list),
        Layout("pro", "PRO's prefix, suffix and reward", {}, expand_pro),
        Layout(
            "messages",
            "a conversation in 'messages' and a label",
            {
                "prompt_field": "messages",
                "response_field": "messages",
                "reward_field": "label",
                "reward_kind": "thumbs",
            },
        ),
        Layout("trl_unpaired", "TRL's prompt, completion and label", _UNPAIRED),
        Layout("trl_paired", "TRL's prompt, chosen and rejected", {}, expand_trl_pair),
        Layout("kto_mix", "kto-mix-14k's messages and label", _UNPAIRED),
        Layout(
            "hh_rlhf",
            "hh-rlhf's chosen and rejected dialogues",
            {"on_bad_record": DROP},
            expand_dialogues,
        ),
        Layout(
            "ultrafeedback",
            "UltraFeedback's instruction and completions, as openbmb has it",
            {
                "prompt_field": "instruction",
                "text_prompts": "user",
                "reward_field": "overall_score",
                "on_bad_record": DROP,
            },
            expand_completions,
        ),
        Layout(
            "ultrafeedback_binarized",
            "UltraFeedback's chosen and rejected messages with their scores",
            {"on_bad_record": DROP},
            expand_pair,
        ),
        Layout(
            "helpsteer2",
            "HelpSteer2's prompt, response and five attributes",
            {
                "text_prompts": "helpsteer",
                "reward_field": "helpfulness",
                "on_bad_record": DROP,
            },
        ),
        Layout(
            "oasst2",
            "OpenAssistant's message trees or messages, with labels",
            {
                "prompt_field": "messages",
                "response_field": "messages",
                "reward_field": "quality",
                "id_field": "message_id",
                "on_bad_record": DROP,
            },
            regroup=MessageTrees,
        ),
        Layout(
            "wizard_of_wikipedia",
            "ParlAI's dialogues of a wizard and an apprentice, with chosen sentences",
            grounded_dialogues.SETTINGS,
            grounded_dialogues.expand_wizard,
            holds_rewards=False,
        ),
        Layout(
            "faithdial",
            "FaithDial's utterances with history, knowledge and response",
            grounded_dialogues.SETTINGS,
            grounded_dialogues.expand_faithdial,
            holds_rewards=False,
        ),
    )
}


def find_layout(name: str) -> Layout:
    """The layout of that name; hyphens stand for underscores.

    Raises:
      ConfigError: there is none.
    """
    found = LAYOUTS.get(str(name).replace("-", "_").lower())
    if found is None:
        near = difflib.get_close_matches(str(name), LAYOUTS, n=1)
        meant = f" (did you mean {near[0]!r}?)" if near else ""
        raise ConfigError(
            f"layout = {name!r} is unknown{meant}: use one of "
            f"{', '.join(map(repr, LAYOUTS))}"
        )
    return found


def settings_of(layout: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A layout's settings, overridden by those given that are not None.

    A layout that has prompt and response in one field has them in any one field.

    Raises:
      ConfigError: the layout is unknown.
    """
    own = dict(find_layout(layout).settings)
    given = {name: value for name, value in settings.items() if value is not None}
    if "prompt_field" in own and own["prompt_field"] == own.get("response_field"):
        own["response_field"] = given.get("prompt_field", own["prompt_field"])
    return {**own, **given}
