"""A file's layout and fields, guessed from its first records, or what is not told."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dro_jax.data.layouts import find_layout
from dro_jax.data.layouts.layout import Fields
from dro_jax.data.layouts.shapes import SHAPES, is_dialogue, is_messages, is_text
from dro_jax.data.records import RecordProblem
from dro_jax.data.rewards import Float, Thumbs
from dro_jax.errors import ConfigError

PROMPTS = (
    *(
        "prompt",
        "question",
        "instruction",
        "query",
        "input",
        "context",
        "user",
        "request",
    ),
    *("user_message", "user_input", "problem", "message", "post"),
)
RESPONSES = (
    *("response", "completion", "answer", "output", "reply", "assistant", "generation"),
    *("model_output", "bot_response", "target", "text"),
)
REWARDS = (
    *("reward", "score", "rating", "label", "feedback", "thumb", "thumbs", "stars"),
    *("vote", "like", "liked", "grade", "quality", "overall_score", "satisfaction"),
)
CONVERSATIONS = ("messages", "conversations", "conversation", "dialogue", "chat")
_ROLES = ("prompt", "response", "reward")
_SETTINGS = ("prompt_field", "response_field", "reward_field", "reward_kind")
_NO_REWARD = ("id", "index", "idx", "timestamp", "time", "date", "version", "length")
# The first records of a file may all have the same thumb.
_TWO_VALUES = ({0.0, 1.0}, {-1.0, 1.0}, {0.0}, {1.0}, {-1.0})


@dataclasses.dataclass
class Guess:
    """What a file seems to be.

    Attributes:
      layout: the layout's name.
      settings: those of the task beside it, `reward_field` and the like.
      reasons: what was seen, a sentence each.
      sure: whether nothing was guessed from a name that only looks like the one meant.
    """

    layout: str
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    reasons: list[str] = dataclasses.field(default_factory=list)
    sure: bool = True


def guess_layout(records: Sequence[Fields], given: Mapping[str, Any]) -> Guess:
    """The layout and the fields of records.

    Args:
      records: the first of a file, at least one.
      given: what is known: `layout`, `prompt_field`, `response_field`, `reward_field`,
        `reward_kind`.

    Raises:
      ConfigError: they do not tell, and what would.
    """
    known = {name: value for name, value in given.items() if value is not None}
    layout = known.pop("layout", None)
    if layout is not None:
        guess = Guess(find_layout(layout).name, reasons=["as --layout says"])
    else:
        guess = _by_shape(records, known)
    guess.settings.update(known)
    if guess.layout in ("trajectories", "messages"):
        _find_fields(guess, records)
    elif guess.layout == "pairs" and "prompt_field" not in known:
        _find_prompt_of_pairs(guess, records)
    return guess


def _by_shape(records: Sequence[Fields], known: Mapping[str, Any]) -> Guess:
    total = len(records)
    for shape in SHAPES:
        count = sum(bool(shape.fits(fields)) for fields in records)
        # Half of them will do: bad records of a log are named as such later.
        if 2 * count >= total and not {"prompt_field", "response_field"} & set(known):
            guess = Guess(
                shape.layout, reasons=[f"{shape.because}: {count} of {total}"]
            )
            guess.sure = count == total and shape.layout != "trl_paired"
            return guess
    talks = [
        name
        for name in CONVERSATIONS
        if _share(records, name, is_dialogue) > 0.5 and "response_field" not in known
    ]
    if talks and known.get("prompt_field", talks[0]) in talks:
        talk = known.get("prompt_field", talks[0])
        guess = Guess("messages", reasons=[f"'{talk}' holds conversations"])
        if talk != "messages":
            guess.settings["prompt_field"] = talk
        return guess
    return Guess("trajectories", reasons=["one response a record"])


def _find_fields(guess: Guess, records: Sequence[Fields]) -> None:
    settings = guess.settings
    taken = {settings.get("prompt_field"), settings.get("response_field")}
    if guess.layout == "messages":
        taken.add("messages")
    else:
        # Responses first: their names are plainer, and `text` or `input` may be either.
        for role, names in (("response", RESPONSES), ("prompt", PROMPTS)):
            if f"{role}_field" not in settings:
                _find(guess, records, role, names, _is_words, taken)
    if "reward_field" not in settings:
        _find_reward(guess, records, taken)
    if "reward_kind" not in settings:
        _find_kind(guess, records)
    used = {*taken, *(settings.get(f"{role}_field") for role in _ROLES)}
    unused = [name for name in _fields(records) if name not in used]
    if unused:
        guess.reasons.append(f"not used: {', '.join(unused)}")
    guess.settings = {
        name: settings[name] for name in (*_SETTINGS, *settings) if name in settings
    }


def _find(
    guess: Guess,
    records: Sequence[Fields],
    role: str,
    names: Sequence[str],
    kind: Callable[[Any], bool],
    taken: set,
) -> None:
    candidates = [
        name
        for name in _fields(records)
        if name not in taken and _share(records, name, kind) > 0.5
    ]
    found = _by_names(candidates, names)
    if not found:
        raise ConfigError(_not_told(role, candidates, records))
    guess.reasons.append(f"'{found[0]}' is the {role}, by its name")
    guess.sure &= found[0] == names[0]
    guess.settings[f"{role}_field"] = found[0]
    taken.add(found[0])


def _find_reward(guess: Guess, records: Sequence[Fields], taken: set) -> None:
    candidates = [
        name
        for name in _fields(records)
        if name not in taken and _share(records, name, _is_feedback) > 0.5
    ]
    # A number may be anything; so of unknown names the only one left is taken, or none.
    named = [name for name in candidates if name.lower() in REWARDS]
    rest = [name for name in candidates if not set(_words(name)) & set(_NO_REWARD)]
    found = named or _by_names(rest, REWARDS) or rest
    if len(found) != 1:
        raise ConfigError(_not_told("reward", found, records))
    why = "by its name" if named else "since no other field holds feedback"
    guess.reasons.append(f"'{found[0]}' is the reward, {why}")
    guess.sure &= bool(named)
    guess.settings["reward_field"] = found[0]


def _find_kind(guess: Guess, records: Sequence[Fields]) -> None:
    name = guess.settings["reward_field"]
    values = [fields[name] for fields in records if fields.get(name) is not None]
    if not values:
        raise ConfigError(
            f"no record holds a value in the field '{name}': name another by "
            f"--reward_field. The fields are: {', '.join(_fields(records))}"
        )
    parsed = [_parsed(Float(), value) for value in values]
    numbers = [number for number in parsed if number is not None]
    thumbs = [value for value in values if _parsed(Thumbs(), value) is not None]
    read = max(len(numbers), len(thumbs))
    # Most will do, as for shapes: the bad ones are named, each by its line, later.
    if 2 * read <= len(values):
        odd = [value for value in values if not _is_feedback(value)]
        if not odd:
            raise ConfigError(
                f"the field '{name}' holds numbers and words, none of them most of its "
                "values: name another by --reward_field, or write them as numbers"
            )
        raise ConfigError(
            f"the field '{name}' holds {odd[0]!r}, which is neither a number nor a known "
            "thumb: name another by --reward_field, or write its values as numbers"
        )
    if len(numbers) == read:
        is_thumb = any(set(numbers) == two for two in _TWO_VALUES)
        kind = "thumbs" if is_thumb else "float"
        seen = f"numbers from {min(numbers):g} to {max(numbers):g}"
    else:
        kind, seen = "thumbs", "thumbs: " + ", ".join(sorted(set(map(str, thumbs)))[:4])
    if read < len(values):
        seen += f" ({read} of {len(values)})"
        guess.sure = False
    guess.reasons.append(f"'{name}' holds {seen}")
    guess.settings["reward_kind"] = kind


def _find_prompt_of_pairs(guess: Guess, records: Sequence[Fields]) -> None:
    if _share(records, "prompt", lambda value: True) > 0.5:
        return
    if _share(records, "chosen", is_dialogue) > 0.5 and all(
        len(fields["chosen"]) > 1 for fields in records if is_dialogue(fields["chosen"])
    ):
        return  # whole conversations
    _find(guess, records, "prompt", PROMPTS, _is_words, {"chosen", "rejected"})


def _by_names(candidates: Sequence[str], names: Sequence[str]) -> list[str]:
    exact = [name for wanted in names for name in candidates if name.lower() == wanted]
    if exact:
        return exact
    return [name for name in candidates if set(_words(name)) & set(names)]


def _words(name: str) -> list[str]:
    return name.lower().replace("-", "_").replace(".", "_").replace(" ", "_").split("_")


def _is_words(value: Any) -> bool:
    return is_messages(value) or (is_text(value) and bool(value.strip()))


def _is_feedback(value: Any) -> bool:
    return any(_parsed(kind, value) is not None for kind in (Float(), Thumbs()))


def _parsed(kind: Any, value: Any) -> float | None:
    try:
        return kind.parse(value)
    except RecordProblem:
        return None


def _fields(records: Sequence[Fields]) -> list[str]:
    return list(dict.fromkeys(name for fields in records for name in fields))


def _share(records: Sequence[Fields], name: str, kind: Callable[[Any], bool]) -> float:
    return sum(name in f and bool(kind(f[name])) for f in records) / len(records)


def _not_told(role: str, found: Sequence[str], records: Sequence[Fields]) -> str:
    quoted = ", ".join(map(repr, found))
    several = "any of " if len(found) > 1 else ""
    what = f"it may be {several}{quoted}" if found else "none looks like one"
    return (
        f"which field is the {role} is not told: {what}. Name it by --{role}_field, or "
        f"the layout by --layout. The fields are: {', '.join(_fields(records))}"
    )
