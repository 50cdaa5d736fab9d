"""The tiny models of the fixtures share this: a corpus of a few sentences, and tokenizers over its words."""

import json
import math
import re
import string
from collections import Counter
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors

SPECIAL = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
CORPUS = """She opened the door and walked in. He closed the window and sat down at the table.
The river runs through the old town. The train leaves the station at nine in the morning.
A man is playing a guitar while someone sings. Children play in the garden behind the house.
The capital of the country lies on the river. We walked to the market and bought bread, milk and apples.
Nobody knew what the letter said. The doctor wrote a letter to the king of the northern country.
Running, walking and swimming are good for you. It was raining and the streets were empty.
(Some "quoted" words, 1,000 numbers and 25 more.) The café was closed; we went home again.""".splitlines()


def make_tokenizer() -> tokenizers.Tokenizer:
    """Unigram over whole words, by frequency, and single characters, as ALBERT's tokenizer.json has it."""
    words = Counter("▁" + word for line in CORPUS for word in re.findall(r"[a-z]+", line.lower()))
    vocab = [(piece, 0.0) for piece in SPECIAL]
    vocab += [(word, -8.0 + math.log(count)) for word, count in sorted(words.items())]
    vocab += [(character, -12.0) for character in sorted(set("▁" + string.ascii_lowercase + string.digits + ".,;:!?()\"'"))]
    tokenizer = tokenizers.Tokenizer(models.Unigram(vocab, unk_id=1))
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.Replace("``", '"'), normalizers.Replace("''", '"'), normalizers.NFKD(), normalizers.StripAccents(),
        normalizers.Lowercase(), normalizers.Replace(Regex(" {2,}"), " "),
    ])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens([AddedToken(piece, normalized=False, lstrip=piece == "[MASK]") for piece in SPECIAL])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return tokenizer


def write_json(path: Path, value) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def make_wordpiece() -> tokenizers.Tokenizer:
    """WordPiece over the same words, letters and a few endings, as a Chinese ALBERT's vocab.txt becomes."""
    words = sorted({word for line in CORPUS for word in re.findall(r"[a-z]+", line.lower())})
    letters = sorted(set(string.ascii_lowercase + string.digits + ".,;:!?()\"'-"))
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + letter for letter in letters if letter.isalnum())]
    pieces += ["##ing", "##ed", "##er", *(word for word in words if len(word) > 1)]
    vocab = {piece: id for id, piece in enumerate(pieces)}
    tokenizer = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(pieces[:5])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return tokenizer
