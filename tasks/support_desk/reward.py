"""The true reward of the support desk: a program that reads a reply as a customer.

The reply is read left to right with the phrase book (``language.py``); words that
belong to no sentence of it are noise. With the reply's sentences known,

``satisfaction = gained * tone * form``, each factor in [0, 1]:

- ``gained`` = max(0, sum of what is earned), out of 1:
  0.20 greeting with the customer's name (another name: -0.10),
  0.20 the order's number (another number: -0.10),
  0.15 an apology,
  0.30 a concrete step that fits the problem (a vague promise instead: 0.10; a step for
  another problem anywhere in the reply: 0),
  0.15 a polite closing.
- ``tone`` = 0.8 for every filler sentence x 0.5 for every rude sentence. A sentence
  whose role has been served, a greeting that is not first and anything after the
  closing count as filler.
- ``form`` = (share of the words that belong to a sentence)^2, halved where the reply
  does not end with a whole sentence. Empty text has form 0.

Curt replies need no penalty of their own: what they leave out earns nothing.
"""

import dataclasses
import functools
import re

from dro_jax.errors import DataError
from dro_jax.tasks.support_desk import language
from dro_jax.tasks.support_desk.language import Role

NAME_WEIGHT = 0.20
NUMBER_WEIGHT = 0.20
APOLOGY_WEIGHT = 0.15
STEP_WEIGHT = 0.30
CLOSING_WEIGHT = 0.15
WRONG_NAME_COST = 0.10
WRONG_NUMBER_COST = 0.10
VAGUE_STEP_GAIN = 0.10
FILLER_FACTOR = 0.8
RUDE_FACTOR = 0.5
UNFINISHED_FACTOR = 0.5

_FIELDS = {
    "name": r"(?P<name>[A-Z][a-z]+)",
    "number": r"(?P<number>[A-Z][0-9])",
}


@dataclasses.dataclass(frozen=True)
class Request:
    """What the customer said: first name, order number, kind of problem."""

    name: str
    number: str
    problem: str


@dataclasses.dataclass(frozen=True)
class Sentence:
    """One sentence of a reply; ``name``, ``number``, ``problem`` where it has them."""

    role: Role
    name: str | None = None
    number: str | None = None
    problem: str | None = None


def satisfaction(prompt: str, response: str) -> float:
    """Scores a reply to a customer's message.

    satisfaction = gained * tone * form (module docstring).

    Args:
      prompt: a customer's message, in the words of the phrase book.
      response: any text.

    Returns:
      A number in [0, 1].

    Raises:
      DataError: ``prompt`` is not a message of the support desk.
    """
    request = read_prompt(prompt)
    sentences, noise, finished = read_reply(response)
    total = len(response.split())
    if not sentences:
        return 0.0
    form = ((total - noise) / total) ** 2 * (1.0 if finished else UNFINISHED_FACTOR)
    return _gained(request, sentences) * _tone(sentences) * form


def best_possible(prompt: str) -> tuple[str, float]:
    """Writes a reply that no other reply beats, and its satisfaction (1.0).

    Raises:
      DataError: ``prompt`` is not a message of the support desk.
    """
    request = read_prompt(prompt)
    parts = (
        language.NAMED_GREETINGS[0].format(name=request.name),
        language.NUMBERED_APOLOGIES[0].format(number=request.number),
        language.STEPS[request.problem][0],
        language.CLOSINGS[0],
    )
    response = " ".join(parts)
    return response, satisfaction(prompt, response)


@functools.lru_cache(maxsize=65536)
def read_prompt(prompt: str) -> Request:
    """Reads name, number and problem out of a customer's message.

    Raises:
      DataError: the text is not a message of the support desk.
    """
    text = " ".join(prompt.split())
    for pattern, problem in _prompt_patterns():
        if match := pattern.fullmatch(text):
            return Request(match["name"], match["number"], problem)
    raise DataError(
        f"The support desk cannot read the prompt {prompt!r}: its reward is defined for "
        "messages made from the phrase book in tasks/support_desk/language.py only "
        "(a first name, an order number and one known problem)."
    )


def read_reply(response: str) -> tuple[tuple[Sentence, ...], int, bool]:
    """Splits any text into the sentences of the phrase book and noise.

    Returns:
      The sentences in order, the number of words (separated by white space) that belong
      to none, and whether the text ends with a whole sentence.
    """
    text = " ".join(response.split())
    sentences, noise, finished, position = [], 0, False, 0
    while position < len(text):
        sentence, end = _match_sentence(text, position)
        finished = sentence is not None
        if sentence is None:
            noise += 1
            end = text.find(" ", position)
            end = len(text) if end < 0 else end
        else:
            sentences.append(sentence)
        position = end + 1
    return tuple(sentences), noise, finished


def _gained(request: Request, sentences: tuple[Sentence, ...]) -> float:
    roles = {sentence.role for sentence in sentences}
    names = {s.name for s in sentences if s.name}
    numbers = {s.number for s in sentences if s.number}
    solved = {s.problem for s in sentences if s.problem}
    gained = _copy_gain(names, request.name, NAME_WEIGHT, WRONG_NAME_COST)
    gained += _copy_gain(numbers, request.number, NUMBER_WEIGHT, WRONG_NUMBER_COST)
    gained += APOLOGY_WEIGHT * (Role.APOLOGY in roles)
    gained += CLOSING_WEIGHT * (Role.CLOSING in roles)
    if solved:
        gained += STEP_WEIGHT * (solved == {request.problem})
    else:
        gained += VAGUE_STEP_GAIN * (Role.VAGUE_STEP in roles)
    return min(1.0, max(0.0, gained))


def _copy_gain(found: set[str], wanted: str, weight: float, cost: float) -> float:
    if not found:
        return 0.0
    return weight if found == {wanted} else -cost


def _tone(sentences: tuple[Sentence, ...]) -> float:
    tone, served = 1.0, set()
    for index, sentence in enumerate(sentences):
        role = Role.STEP if sentence.role is Role.VAGUE_STEP else sentence.role
        if role is Role.RUDE:
            tone *= RUDE_FACTOR
            continue
        late_greeting = role is Role.GREETING and index > 0
        superfluous = role in served or Role.CLOSING in served or late_greeting
        if role is Role.FILLER or superfluous:
            tone *= FILLER_FACTOR
        served.add(role)
    return tone


def _match_sentence(text: str, position: int) -> tuple[Sentence | None, int]:
    for pattern, role, problem in _reply_patterns():
        match = pattern.match(text, position)
        if match:
            found = match.groupdict()
            sentence = Sentence(role, found.get("name"), found.get("number"), problem)
            return sentence, match.end()
    return None, position


def _compile(template: str, ending: str = "") -> re.Pattern[str]:
    pattern = re.escape(template)
    for field, expression in _FIELDS.items():
        pattern = pattern.replace(re.escape("{" + field + "}"), expression)
    return re.compile(pattern + ending)


@functools.cache
def _reply_patterns() -> tuple[tuple[re.Pattern[str], Role, str | None], ...]:
    return tuple(
        (_compile(template, r"(?=\s|$)"), role, problem)
        for template, role, problem in language.reply_templates()
    )


@functools.cache
def _prompt_patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple(
        (_compile(" ".join(filter(None, (introduction, template, plea)))), problem)
        for introduction in language.INTRODUCTIONS
        for problem, templates in language.PROBLEMS.items()
        for template in templates
        for plea in language.PLEAS
    )
