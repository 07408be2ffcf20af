"""Records of feedback as they arrive, good ones and malformed ones of each kind.

Each generator draws from a seeded stream, so every run sees the same records.
"""

import json
import random

SEED = 3
PER_KIND = 60
LONG = 100_000
SPACES = " \t\r\n\v\f\x00\x07\x1f\x85\xa0\u1680\u2003\u2028\u200b\u2060\u3000\ufeff"
ODD_TEXTS = (
    "NUL \x00 inside", "\u202eright to left", "مرحبا بالعالم", "שלום", "e\u0301\u0302\u0323" * 9,
    "👩🏽\u200d🚀 👨‍👩‍👧‍👦", "𝒳𝔘", "\ufeffmark", "line\nline\r\nline", "\u2028separators\u2029",
    "a\uffff\ufdd0", "b\U0010ffff", "a\u0300" * 50, "<pad></s>", "{prompt}", "\\ud83d", "0", "null",
)  # fmt: skip


def text(rng: random.Random) -> str:
    if rng.random() < 0.3:
        return rng.choice(ODD_TEXTS)
    return "".join(rng.choices("abc xyzäß ,.?", k=rng.randint(1, 40))) + "."


def good(rng: random.Random) -> dict:
    """A record that any task can use."""
    reward = rng.choice(
        (0, 1, -1, 10**20, -0.0, 1e-300, 3e38, -3.4e38, rng.gauss(0, 3), rng.random())
    )
    record = {"prompt": text(rng), "response": text(rng), "reward": reward}
    if rng.random() < 0.2:
        record["note"] = rng.choice(
            (None, float("nan"), float("inf"), 10**400, [[{}]], "\x00", True)
        )
    return record


def line(record, **dumps) -> bytes:
    """As JSON; text as UTF-8, where it can be."""
    return json.dumps(record, **dumps).encode()


def long_record(rng):
    role = rng.choice(("prompt", "response"))
    return {**good(rng), role: rng.choice("aä👍 ") * (LONG - 1) + "."}


def bad_number(rng):
    return {
        **good(rng),
        "reward": rng.choice((float("nan"), float("inf"), -float("inf"))),
    }


def too_large_number(rng):
    digits = rng.choice((39, 60, 308, 309, 400, 4000))
    return {
        **good(rng),
        "reward": rng.choice((-1, 1)) * (10**digits - rng.randint(0, 9)),
    }


def number_beyond_double(rng):
    sign, digits = rng.choice(("", "-")), rng.randint(309, 9999)
    return line({**good(rng), "reward": 0.125}).replace(
        b"0.125", f"{sign}1e{digits}".encode()
    )


def number_of_many_digits(rng):
    number = b"9" * rng.randint(5_000, 9_000)
    return line({**good(rng), "reward": 0.125}).replace(b"0.125", number)


def wrong_type_of_reward(rng):
    values = ("1", "0.5", "NaN", "", "👍", [1], [], {}, {"score": 1}, True, False, None)
    return {**good(rng), "reward": rng.choice(values)}


def wrong_type_of_text(rng):
    values = (None, 3, 0.5, True, [], ["text"], {}, {"text": "text"}, [[["deep"]]])
    return {**good(rng), rng.choice(("prompt", "response")): rng.choice(values)}


def empty_text(rng):
    return {**good(rng), rng.choice(("prompt", "response")): ""}


def blank_text(rng):
    blank = "".join(rng.choices(SPACES, k=rng.randint(1, 60)))
    return {**good(rng), rng.choice(("prompt", "response")): blank}


def missing_field(rng):
    record = good(rng)
    for name in rng.sample(("prompt", "response", "reward"), rng.randint(1, 3)):
        del record[name]
    return record


def misspelt_field(rng):
    name = rng.choice(("prompt", "response", "reward"))
    other = rng.choice((name.upper(), f"{name} ", f"{name}s", f"\ufeff{name}"))
    return {other if key == name else key: v for key, v in good(rng).items()}


def half_a_surrogate_pair(rng):
    half = chr(rng.randint(0xD800, 0xDFFF))
    role = rng.choice(("prompt", "response"))
    return {**good(rng), role: rng.choice((f"a{half}", f"{half}a", f"a{half}b"))}


def invalid_utf8(rng):
    broken = rng.choice(
        (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf0\x9f", b"\x80", b"\xe9")
    )
    raw = line({**good(rng), "response": "a?b"})
    return raw.replace(b"a?b", b"a" + broken + b"b")


def truncated_line(rng):
    raw = line(good(rng))
    return raw[: rng.randint(1, len(raw) - 1)]


def text_after_the_object(rng):
    return line(good(rng)) + rng.choice((b"}", b",", b"]", b" x", b'{"a": 1}', b"\x00"))


def other_json(rng):
    values = (None, True, 3, 0.5, "text", [], [1, 2], [{"prompt": "p"}], float("nan"))
    return line(rng.choice(values))


def python_for_json(rng):
    return repr({**good(rng), "note": None}).encode()


def noise(rng):
    raw = bytes(b for b in rng.randbytes(rng.randint(1, 200)) if b not in b"\n{")
    return b"~" + raw


def deep_nesting(rng):
    depth = rng.randint(20_000, 60_000)
    return rng.choice((b"[", b'{"a":')) * depth


def byte_order_mark_inside(rng):
    return b"\xef\xbb\xbf" + line(good(rng))


def utf16(rng):
    return json.dumps(good(rng)).encode("utf-16-le").replace(b"\n", b"")


BAD = {
    bad_number: {"reward_not_finite"},
    too_large_number: {"reward_not_finite"},
    number_beyond_double: {"reward_not_finite"},
    number_of_many_digits: {"not_json"},
    wrong_type_of_reward: {"reward_not_numeric", "reward_missing"},
    wrong_type_of_text: {"wrong_type"},
    empty_text: {"empty_prompt", "empty_response"},
    blank_text: {"empty_prompt", "empty_response"},
    missing_field: {"missing_field"},
    misspelt_field: {"missing_field"},
    half_a_surrogate_pair: {"invalid_utf8"},
    invalid_utf8: {"invalid_utf8"},
    truncated_line: {"not_json"},
    text_after_the_object: {"not_json"},
    other_json: {"not_object"},
    python_for_json: {"not_json"},
    noise: {"not_json", "invalid_utf8"},
    deep_nesting: {"not_json"},
    byte_order_mark_inside: {"not_json"},
    utf16: {"not_json", "invalid_utf8"},
}


def bad_lines(kind, count=PER_KIND):
    rng = random.Random(f"{SEED} {kind.__name__}")
    for _ in range(count):
        made = kind(rng)
        yield made if isinstance(made, bytes) else line(made, ensure_ascii=True)


def malformed() -> list[tuple[bytes, set[str]]]:
    """(line, reasons it may be dropped for)."""
    return [(raw, reasons) for kind, reasons in BAD.items() for raw in bad_lines(kind)]


def good_lines(count: int) -> list[tuple[bytes, dict]]:
    rng = random.Random(f"{SEED} good")
    records = [good(rng) for _ in range(count)] + [long_record(rng) for _ in range(6)]
    return [(line(r, ensure_ascii=rng.random() < 0.5), r) for r in records]
