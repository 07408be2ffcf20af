"""Random classifiers of transformers, made in a process of its own: `in_transformers`."""

import json
import pathlib
import sys

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "good",
    "bad",
    "day",
    "so",
    "is",
    "the",
    "it",
    "a",
    "b",
    "c",
    "d",
]
SIZES = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 12,
    "initializer_range": 0.5,
}


def make(folder, labels, problem, chat_template):
    """Saves a BERT of those labels, and its tokenizer."""
    import torch
    import transformers

    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    tokenizer = transformers.BertTokenizer(str(folder / "vocab.txt"))
    tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(folder)
    torch.manual_seed(len(labels))
    config = transformers.BertConfig(
        **SIZES, id2label=dict(enumerate(labels)), problem_type=problem
    )
    transformers.BertForSequenceClassification(config).save_pretrained(folder)


def make_headless(folder, new_folder):
    """Saves the encoder alone, beside the same tokenizer."""
    import transformers

    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    model.bert.save_pretrained(new_folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(new_folder)


def logits(folder, texts):
    """transformers' own, one text or pair at a time."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        found = [
            model.eval()(**tokenizer(*text, return_tensors="pt")).logits[0].tolist()
            for text in texts
        ]
    return found


def logits_of_each(folder, lists):
    """Those of several lists of texts."""
    return [logits(folder, texts) for texts in lists]


if __name__ == "__main__":
    for name, arguments in json.loads(sys.argv[1]):
        answer = globals()[name](**arguments)
    print(json.dumps(answer))
