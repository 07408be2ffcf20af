"""A chat server's answers that hang on what it is asked, and judges that ask it."""

import re

from dro_jax.judges.asking_cost import Prices
from dro_jax.judges.chat_server import ChatServer
from dro_jax.judges.llm_judge import LlmJudge

PRICES = Prices(input=1.0, output=2.0, limit=5.0)
_PARTS = re.compile(
    r"--- response [AB] (?P<mark>\w{16})\n(.*?)\n--- end of response [AB] (?P=mark)",
    re.DOTALL,
)


def responses_in(body):
    """Those that a request shows, A's and B's."""
    (message,) = body["messages"]
    first, second = (found[2] for found in _PARTS.finditer(message["content"]))
    return first, second


def completion(text, **more):
    """A chat completion that says so."""
    message = {"role": "assistant", "content": text}
    return {
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10},
        **more,
    }


def prefers_longer(body):
    """The longer response; of two as long the one that comes first, a bias."""
    first, second = responses_in(body)
    verdict = "A" if len(first) >= len(second) else "B"
    return completion(f"It says more.\nVERDICT: {verdict}")


def judge_of(url, prices=PRICES, **settings):
    """A judge that asks a server of this computer."""
    more = {
        name: settings.pop(name) for name in ("template", "name") if name in settings
    }
    return LlmJudge(ChatServer(url, "small-judge", **settings), prices, **more)
