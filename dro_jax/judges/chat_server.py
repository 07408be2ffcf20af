"""A server of OpenAI's chat completions, or one that is like it."""

import dataclasses
import re
import urllib.parse
from collections.abc import Mapping
from typing import Any

from dro_jax.errors import ConfigError
from dro_jax.messages import is_first
from dro_jax.rewards.http_address import check_url, shown
from dro_jax.rewards.http_client import BadAnswer, HttpClient

_ENDPOINT = "/chat/completions"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*API_KEY")


@dataclasses.dataclass(frozen=True)
class ChatServer:
    """What is asked of which server.

    Attributes:
      url: as `https://HOST/v1`; `/chat/completions` is added unless its path ends so.
      model: its name there.
      key_variable: the environment variable that holds the key, whose name ends in
        API_KEY; '', none is sent. The key itself is kept and shown nowhere.
      key_header: which header carries it, 'api-key' for Azure.
      max_tokens: of an answer.
      max_tokens_field: what the server calls that, 'max_completion_tokens' for some.
      temperature: 0, or None where the server takes none.
      unreadable_attempts: how often a question is asked whose answers give no verdict.
      timeout_seconds, attempts, requests_per_minute, concurrency: of
        `dro_jax.rewards.http_client.HttpClient`.

    Raises:
      ConfigError: one cannot be used, or the key is not set.
    """

    url: str
    model: str
    key_variable: str = ""
    key_header: str = "Authorization"
    max_tokens: int = 256
    max_tokens_field: str = "max_tokens"
    temperature: float | None = 0.0
    unreadable_attempts: int = 3
    timeout_seconds: float = 120.0
    attempts: int = 6
    requests_per_minute: float = 0.0
    concurrency: int = 8

    def __post_init__(self):
        _check_texts(self)
        check_url(self.url)
        if self.key_variable and not _VARIABLE.fullmatch(self.key_variable):
            # Perhaps it is the key itself.
            raise ConfigError(
                "JUDGE_KEY_VARIABLE must be the name of an environment variable that "
                "ends in API_KEY, as OPENAI_API_KEY (what was given is not shown, in "
                "case it is a key)"
            )
        for name in ("max_tokens", "unreadable_attempts"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"JUDGE_{name.upper()} = {value!r}: give 1 or more")
        if self.unreadable_attempts > self.attempts:
            raise ConfigError(
                f"JUDGE_UNREADABLE_ATTEMPTS = {self.unreadable_attempts} is more than "
                f"JUDGE_ATTEMPTS = {self.attempts}, which counts every attempt"
            )
        client = self.client()
        # Of several processes the first asks, and it alone need have the key.
        if is_first():
            client.check_key()

    def client(self) -> HttpClient:
        """What sends requests to it."""
        return HttpClient(
            url=self.endpoint(),
            key_variable=self.key_variable,
            key_header=self.key_header,
            timeout_seconds=self.timeout_seconds,
            attempts=self.attempts,
            requests_per_minute=self.requests_per_minute,
            concurrency=self.concurrency,
        )

    def endpoint(self) -> str:
        """The address that questions are sent to."""
        parts = urllib.parse.urlsplit(self.url)
        path = parts.path.rstrip("/")
        if not path.endswith(_ENDPOINT):
            path += _ENDPOINT
        return parts._replace(path=path).geturl()

    def identity(self) -> list[Any]:
        """What an answer depends on, as JSON."""
        return [
            shown(self.endpoint()),
            self.model,
            self.max_tokens,
            None if self.temperature is None else float(self.temperature),
        ]

    def body(self, question: str) -> dict[str, Any]:
        """A request."""
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": question}],
            self.max_tokens_field: self.max_tokens,
        }
        if self.temperature is not None:
            body["temperature"] = self.temperature
        return body


def text_of(answer: Any) -> str:
    """What the model says in an answer.

    Raises:
      BadAnswer: it is no chat completion.
    """
    try:
        content = answer["choices"][0]["message"]["content"]
    except (LookupError, TypeError):
        content = answer  # refused below: no text
    if content is None:  # it declined to answer, or its thoughts took all tokens
        return ""
    if not isinstance(content, str):
        raise BadAnswer(
            "it is no chat completion, which has choices[0].message.content"
        )
    return content


def tokens_of(answer: Any) -> tuple[int, int]:
    """Tokens sent and answered, by the server's count; 0 where it gives none."""
    usage = answer.get("usage") if isinstance(answer, Mapping) else None
    found = usage if isinstance(usage, Mapping) else {}
    counts = (found.get("prompt_tokens"), found.get("completion_tokens"))
    return tuple(count if isinstance(count, int) else 0 for count in counts)


def _check_texts(server: ChatServer) -> None:
    for name in ("url", "model", "key_variable", "key_header", "max_tokens_field"):
        value = getattr(server, name)
        if not isinstance(value, str):
            raise ConfigError(f"JUDGE_{name.upper()} must be text, got {value!r}")
    if not server.model:
        raise ConfigError("JUDGE_MODEL is empty: name the model that judges")
