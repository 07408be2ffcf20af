"""The phrase book of the support desk: every sentence customers and agents use.

A customer's message gives a first name, an order number and one kind of problem.
An agent's reply is a sequence of sentences, each of one role (:class:`Role`). The
generator writes from this phrase book and the reward reads with it, so the two agree.
All text here was written for this project.
"""

import enum

NAMES = (
    "Aida", "Amir", "Anna", "Bela", "Boris", "Carla", "Chen", "Clara", "Dario", "Dina",
    "Elif", "Emil", "Farid", "Fiona", "Gina", "Hana", "Hugo", "Ines", "Ivan", "Jana",
    "Jonas", "Kofi", "Lena", "Luca", "Maja", "Marco", "Mina", "Nadia", "Nils", "Omar",
    "Paula", "Pedro", "Rosa", "Sami", "Tara", "Tomas", "Uma", "Vera", "Yusuf", "Zoe",
)  # fmt: skip
# A and I are words of their own; O and Q look like zero.
NUMBERS = tuple(
    f"{letter}{digit}" for letter in "BCDEFGHJKLMNPRSTUVWXYZ" for digit in range(10)
)

INTRODUCTIONS = ("{name} here.", "I am {name}.", "Hi, {name} here.")
PLEAS = ("", "Please help.")

PROBLEMS = {
    "late": ("Where is order {number}?", "Order {number} is late."),
    "broken": ("Order {number} is broken.", "Order {number} came in pieces."),
    "wrong": ("Order {number} is not mine.", "Order {number} is the wrong one."),
    "refund": ("Please refund order {number}.", "Order {number}: I want my money."),
    "cancel": ("Please cancel order {number}.", "Order {number} must not ship."),
    "address": ("Order {number} needs a new address.", "I moved, see order {number}."),
}


class Role(enum.Enum):
    """What a sentence does in a reply."""

    GREETING = "greeting"
    APOLOGY = "apology"
    REFERENCE = "reference"
    STEP = "step"
    VAGUE_STEP = "vague step"
    FILLER = "filler"
    RUDE = "rude"
    CURT = "curt"
    CLOSING = "closing"


NAMED_GREETINGS = ("Hi {name},", "Hello {name},", "Dear {name},")
PLAIN_GREETINGS = ("Hi,", "Hello,")
NUMBERED_APOLOGIES = ("Sorry about {number}.", "My apologies for {number}.")
PLAIN_APOLOGIES = ("I am sorry.", "My apologies.")
REFERENCES = ("This is about {number}.", "I see {number}.")
STEPS = {
    "late": ("Your parcel comes tomorrow.", "The driver will call you."),
    "broken": ("A new one ships today.", "We will repair it."),
    "wrong": ("The right one ships today.", "We will swap it."),
    "refund": ("Your money comes back.", "The refund is made."),
    "cancel": ("The order is stopped.", "It is cancelled."),
    "address": ("The new address is saved.", "I changed the label."),
}
VAGUE_STEPS = ("We will look into it.", "Someone will check.")
FILLERS = (
    "We are a busy shop.",
    "Many people write.",
    "It is raining here.",
    "Our team likes parcels.",
)
RUDE = ("Not our fault.", "Stop writing.", "Read the rules.")
CURT = ("Noted.", "Okay.")
CLOSINGS = ("Kind regards.", "Take care.")


def reply_templates() -> tuple[tuple[str, Role, str | None], ...]:
    """Lists every sentence of the agents.

    Returns:
      Triples (template, role, problem); ``problem`` is the kind of problem that a
      concrete step solves and None for every other role.
    """
    by_role = {
        Role.GREETING: NAMED_GREETINGS + PLAIN_GREETINGS,
        Role.APOLOGY: NUMBERED_APOLOGIES + PLAIN_APOLOGIES,
        Role.REFERENCE: REFERENCES,
        Role.VAGUE_STEP: VAGUE_STEPS,
        Role.FILLER: FILLERS,
        Role.RUDE: RUDE,
        Role.CURT: CURT,
        Role.CLOSING: CLOSINGS,
    }
    general = [
        (template, role, None)
        for role, templates in by_role.items()
        for template in templates
    ]
    steps = [
        (template, Role.STEP, problem)
        for problem, templates in STEPS.items()
        for template in templates
    ]
    return tuple(general + steps)
