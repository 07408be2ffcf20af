"""gin texts that call dro_jax's own modules by their names of before.

`from tasks import jsonl` and `MIXTURE_OR_TASK_MODULE = 'tasks.hha'` stand in saved
configurations and in people's own files. They are read as `dro_jax.tasks` has them, so
that nothing behind this knows two names, and so that a `tasks` package of somebody's own
is not imported for a file that means ours.
"""

import ast
import io
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from dro_jax.data.modules import module_names
from dro_jax.shipped_names import PACKAGES, new_name

MODULE_MACRO = "MIXTURE_OR_TASK_MODULE"
MODULE_ARGUMENTS = ("module", "modules", "mixture_or_task_module")
_NO_WORDS = (tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT)

Token = tokenize.TokenInfo


class _Edit(NamedTuple):
    """The text that comes in the place of a token."""

    token: Token
    text: str


def with_new_names(
    text: str, folders: Sequence[str] = (), *, selectors: bool = False
) -> str:
    """A gin text with the names of today for modules of ours; its lines stay its lines.

    Args:
      text: any text; one that is no gin is for its parser to refuse.
      folders: where people's own modules lie beside those of `sys.path`.
      selectors: whether functions are called in full, as `tasks.jsonl.jsonl_task`, where
        the text does not import their module itself.
    """
    if not any(package in text for package in PACKAGES):
        return text
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (SyntaxError, tokenize.TokenError):
        return text
    lines = text.splitlines(keepends=True)
    for token, new in _last_first(_edits(tokens, folders, selectors)):
        (row, start), (_, end) = token.start, token.end
        line = lines[row - 1]
        lines[row - 1] = line[:start] + new + line[end:]
    return "".join(lines)


def _last_first(edits: Iterable[_Edit]) -> list[_Edit]:
    return sorted(edits, key=lambda edit: edit.token.start, reverse=True)


def _edits(
    tokens: Sequence[Token], folders: Sequence[str], selectors: bool
) -> Iterator[_Edit]:
    in_full = selectors
    for words in _statements(tokens):
        match words[0].string:
            case "from":
                package, _, name = _split_at(words[1:], "import")
                full = f"{_dotted(package)}.{_dotted(name[:1])}"
            case "import":
                name, alias, _ = _split_at(words[1:], "as")
                package, full = name, _dotted(name)
                # gin names what it imports so by the whole name.
                in_full |= not alias and new_name(full, folders) != full
            case _:
                yield from _named_as_values(words, folders)
                if in_full:
                    yield from _named_as_selectors(words, folders)
                continue
        new = new_name(full, folders)
        if package and new != full:
            yield _Edit(package[0], new.removesuffix(full) + package[0].string)


def _statements(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    words: list[Token] = []
    for token in tokens:
        if token.type in (tokenize.NEWLINE, tokenize.ENDMARKER):
            if words:
                yield words
            words = []
        elif token.type not in _NO_WORDS:
            words.append(token)


def _split_at(words: list[Token], word: str) -> tuple[list, list, list]:
    for index, token in enumerate(words):
        if token.string == word:
            return words[:index], [token], words[index + 1 :]
    return words, [], []


def _dotted(words: Sequence[Token]) -> str:
    return "".join(token.string for token in words)


def _named_as_values(words: list[Token], folders: Sequence[str]) -> Iterator[_Edit]:
    """Texts that name a task's module, in the statement that sets it."""
    names, equals, values = _split_at(words, "=")
    if not equals or names[-1].string not in (MODULE_MACRO, *MODULE_ARGUMENTS):
        return
    for token in values:
        old = module_names(_text(token))
        new = [new_name(name, folders) for name in old]
        if new != old:
            yield _Edit(token, repr(",".join(new)))


def _text(token: Token) -> str:
    """What a text on one line says; nothing for other tokens."""
    if token.type != tokenize.STRING or token.start[0] != token.end[0]:
        return ""
    try:
        value = ast.literal_eval(token.string)
    except (SyntaxError, ValueError):
        return ""
    return value if isinstance(value, str) else ""


def _named_as_selectors(words: list[Token], folders: Sequence[str]) -> Iterator[_Edit]:
    for index, token in enumerate(words):
        if token.string not in PACKAGES or index and words[index - 1].string == ".":
            continue
        end = index
        while end + 1 < len(words) and words[end + 1].string == ".":
            end += 2
        for stop in range(end, index, -2):  # the longest module's name first
            full = _dotted(words[index : stop + 1])
            if (new := new_name(full, folders)) != full:
                yield _Edit(token, new.removesuffix(full) + token.string)
                break
