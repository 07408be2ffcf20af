"""OpenAssistant's message trees: every reply of the assistant, with its labels.

Source: the files of Köpf et al. 2023 (arXiv 2304.07327): trees, one an object, or
messages, one an object, in any order.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dro_jax.data.conversations import ASSISTANT
from dro_jax.data.layouts.layout import Fields
from dro_jax.data.record_source import Parts, RecordSource
from dro_jax.data.records import DerivedFields, RawRecord, RecordProblem
from dro_jax.data.templates import describe_type


class MessageTrees(RecordSource):
    """Trajectories of trees: `messages`, from the root to a reply, and its labels.

    Every label, as `quality` or `helpfulness`, is a field of its own with its mean
    value. A split of single messages is held in memory, since a reply's ancestors may
    stand anywhere in it.

    Args:
      source: objects with `prompt`, the root of a tree of `replies`, or with
        `message_id` and `parent_id`.
    """

    def __init__(self, source: RecordSource):
        self._source = source

    @property
    def splits(self) -> Sequence[str]:
        return self._source.splits

    def description(self) -> str:
        return self._source.description()

    def parts(self, split: str) -> Parts:
        """The whole: a reply's ancestors may stand anywhere in it."""
        _, contents, paths = self._source.parts(self.check_split(split))
        if contents is not None:
            contents = ["trees", contents]
        return Parts(contents=contents, paths=paths)

    def records(self, split: str) -> Iterator[RawRecord]:
        rows = []
        for raw in self._source.records(self.check_split(split)):
            if raw.problem is None and _is_id(raw.fields.get("message_id")):
                rows.append(raw)
                continue
            try:
                if raw.problem is not None:
                    raise raw.problem
                yield from _tree(raw)
            except RecordProblem as problem:
                yield RawRecord(raw.identity, problem=problem)
        messages = {raw.fields["message_id"]: raw.fields for raw in rows}
        for raw in rows:
            if raw.fields.get("role") == ASSISTANT:
                yield _reply(raw, messages)


def _tree(raw: RawRecord) -> Iterator[RawRecord]:
    root = raw.fields.get("prompt")
    if not isinstance(root, Mapping):
        raise RecordProblem(
            "wrong_type",
            "the record is neither a tree, which has its root in 'prompt', nor a message "
            "with 'message_id'",
        )
    count = 0
    # A path of messages for every one, in the order of the tree: no recursion, since
    # threads may be long.
    waiting = [(root,)]
    while waiting:
        path = waiting.pop()
        replies = path[-1].get("replies") or []
        if not isinstance(replies, list) or not all(
            isinstance(reply, Mapping) for reply in replies
        ):
            raise RecordProblem(
                "wrong_type", f"'replies' is {describe_type(replies)}, not of objects"
            )
        waiting += [(*path, reply) for reply in reversed(replies)]
        if path[-1].get("role") == ASSISTANT:
            count += 1
            yield _trajectory(f"{raw.identity} reply {count}", path)


def _reply(raw: RawRecord, messages: Mapping[Any, Fields]) -> RawRecord:
    path, seen = [raw.fields], {raw.fields["message_id"]}
    while (parent := path[0].get("parent_id")) is not None:
        if not _is_id(parent) or parent not in messages or parent in seen:
            problem = RecordProblem(
                "no_parent", f"the message of 'parent_id' {parent!r} is not in the file"
            )
            return RawRecord(raw.identity, problem=problem)
        seen.add(parent)
        path.insert(0, messages[parent])
    return _trajectory(raw.identity, tuple(path))


def _trajectory(identity: str, path: Sequence[Fields]) -> RawRecord:
    reply = path[-1]
    if any(message.get("deleted") for message in path):
        problem = RecordProblem("deleted", "the message, or one before it, was deleted")
        return RawRecord(identity, problem=problem)
    messages = [{"role": m.get("role"), "content": m.get("text")} for m in path]
    others = {
        name: value
        for name, value in reply.items()
        if name not in ("labels", "replies", "text", "role")
    }
    labels = _labels(reply.get("labels"))
    return RawRecord(
        identity,
        DerivedFields(
            {**others, **labels, "messages": messages},
            # The usual reward is named so also where a message does not have it.
            {
                "messages": "text",
                **{name: f"labels.{name}" for name in ("quality", *labels)},
            },
            [*reply, *(f"labels.{name}" for name in labels)],
        ),
    )


def _is_id(value: Any) -> bool:
    return isinstance(value, str | int)


def _labels(labels: Any) -> dict[str, Any]:
    """Label to value, from an object of objects, of columns, or a list of objects."""
    if isinstance(labels, Mapping) and isinstance(labels.get("name"), list):
        values = labels.get("value")
        values = values if isinstance(values, list) else []
        named = zip(labels["name"], values, strict=False)
    else:
        if isinstance(labels, Mapping):
            labels = [{"name": n, **x} for n, x in labels.items() if _is_object(x)]
        found = labels if isinstance(labels, list) else []
        named = ((x.get("name"), x.get("value")) for x in found if _is_object(x))
    return {name: value for name, value in named if isinstance(name, str)}


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping)
