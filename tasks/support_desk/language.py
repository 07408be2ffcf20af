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
NUMBERS = tuple(range(100, 1000))
ITEMS = ("lamp", "chair", "kettle", "jacket", "phone", "clock")

INTRODUCTIONS = ("Hi, {name} here.", "Hello, this is {name}.", "My name is {name}.")
PLEAS = ("", "Please help.", "Thank you.")

PROBLEMS = {
    "late": (
        "Where is order #{number}?",
        "Order #{number} is a week late.",
    ),
    "broken": (
        "The {item} in order #{number} is broken.",
        "Order #{number} came with a broken {item}.",
    ),
    "wrong": (
        "I got the wrong {item} in order #{number}.",
        "Order #{number} came with the wrong {item}.",
    ),
    "refund": (
        "I want my money back for order #{number}.",
        "Please refund order #{number}.",
    ),
    "cancel": (
        "Please cancel order #{number}.",
        "I no longer want order #{number}.",
    ),
    "address": (
        "Order #{number} needs a new address.",
        "Please send order #{number} to my new address.",
    ),
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
NUMBERED_APOLOGIES = (
    "I am sorry about order #{number}.",
    "My apologies for order #{number}.",
)
PLAIN_APOLOGIES = ("I am sorry about this.", "Sorry for the trouble.")
REFERENCES = ("This is about order #{number}.", "I see order #{number}.")
STEPS = {
    "late": ("Your parcel comes tomorrow.", "The driver will call you today."),
    "broken": ("A new one ships today.", "We will repair it for free."),
    "wrong": ("The right one ships today.", "We will swap it for free."),
    "refund": ("Your money comes back today.", "The refund is on its way."),
    "cancel": ("The order is stopped.", "It is cancelled for free."),
    "address": ("The new address is saved.", "I changed the label for you."),
}
VAGUE_STEPS = ("We will look into it.", "Someone will check this.")
FILLERS = (
    "We are a busy shop.",
    "Many people write to us.",
    "It is raining here.",
    "Our team likes parcels.",
)
RUDE = ("That is not our fault.", "Please stop writing.", "Read the rules.")
CURT = ("Noted.", "Okay.")
CLOSINGS = ("Kind regards.", "Have a nice day.")


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
