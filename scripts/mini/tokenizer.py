"""The tokenizer: a Unigram vocabulary of its own, lower-cased and without accents.

    tokenizer.py --data DIR --work DIR     writes tokenizer.json

Normalization follows ALBERT: quotes made straight, NFKD, accents stripped, lower case. Words are then
cut at white space and every punctuation mark stands alone with its own `▁`, so that `door.` and
`door .` give the same pieces. An apostrophe inside a word stays (`don't` is one piece).
"""

import argparse
import json
import math
import random
import time
from collections import Counter
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import corpus

SPECIAL_PIECES = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]  # ids 0 to 4, as in ALBERT

#: A punctuation mark or symbol, except an apostrophe between two letters or digits.
#: `\w` is spelled out, because engines differ in whether it holds the joiners U+200C and U+200D.
WORD = r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}"
PUNCTUATION = rf"[^{WORD}\s']|_|(?<![{WORD}])'|'(?![{WORD}])"


def untrained() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace("``", '"'),
            normalizers.Replace("''", '"'),
            normalizers.Replace(Regex("[“”„«»]"), '"'),
            normalizers.Replace(Regex("[‘’‚‛]"), "'"),
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
            # NFKD leaves Hangul syllables and the like in parts: put them together again.
            normalizers.NFKC(),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Split(Regex(PUNCTUATION), "isolated"),
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    return tokenizer


def sample(data: Path, seed: int):
    """Documents by source, each source with its share; reproducible for one seed."""
    for source in corpus.TEACHER_SENTENCES:
        share = corpus.TOKENIZER_SHARE.get(source, 1.0)
        draw = random.Random(f"{seed} {source}")
        for document in corpus.documents(data, source):
            if share == 1.0 or draw.random() < share:
                yield from document


def proposed_pieces(lines, count: int):
    """Candidate pieces from byte-pair merges: frequent words whole, rare ones in parts.

    The crate's own Unigram trainer draws its seed from substrings of the list of distinct words, so it misses common
    words that are part of no other (`▁because`) and keeps rare long ones.
    """
    proposer = untrained()
    proposer.model = models.BPE()
    trainer = trainers.BpeTrainer(
        vocab_size=count, limit_alphabet=150, max_token_length=16, show_progress=False
    )
    proposer.train_from_iterator(lines, trainer)
    return list(proposer.get_vocab())


def word_counts(lines):
    tokenizer = untrained()
    counts = Counter()
    for line in lines:
        counts.update(
            word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(line))
        )
    return counts


def scored(pieces, counts, rounds: int):
    """Log-probabilities by Viterbi EM: cut every word the likeliest way, count the pieces, repeat."""
    scores = {piece: -10.0 for piece in pieces}  # all equal: the first cut has the fewest pieces
    for _ in range(rounds):
        vocab = [(piece, 0.0) for piece in SPECIAL_PIECES] + list(scores.items())
        model = models.Unigram(vocab, unk_id=1, byte_fallback=False)
        # One occurrence is left to each piece that no word uses: single characters must stay.
        uses = dict.fromkeys(pieces, 1)
        for word, count in counts.items():
            for token in model.tokenize(word):
                if token.value in uses:
                    uses[token.value] += count
        total = sum(uses.values())
        scores = {piece: math.log(use / total) for piece, use in uses.items()}
    return scores


def train(data: Path, vocab_size: int, lines_used: int, seed: int) -> Tokenizer:
    lines = list(sample(data, seed))
    random.Random(seed).shuffle(lines)
    lines = lines[:lines_used]
    counts = word_counts(lines)
    scores = scored(proposed_pieces(lines, round(1.25 * vocab_size)), counts, rounds=2)
    # Merges that were only a step to a longer piece (`▁becau`) are hardly used now: the most used stay.
    best = sorted(scores, key=lambda piece: (len(piece) > 1, -scores[piece], piece))
    scores = scored(best[: vocab_size - len(SPECIAL_PIECES)], counts, rounds=2)
    ordered = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    tokenizer = untrained()
    tokenizer.model = models.Unigram([(piece, 0.0) for piece in SPECIAL_PIECES] + ordered, unk_id=1)
    return tokenizer


def finished(trained: Tokenizer) -> Tokenizer:
    """Adds special tokens and the pair template, and rounds scores to 4 decimals to keep the file small."""
    content = json.loads(trained.to_str())
    content["model"]["vocab"] = [[piece, round(score, 4)] for piece, score in content["model"]["vocab"]]
    content["added_tokens"] = []
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.add_special_tokens(
        [
            # `[MASK]` takes the space before it, so that `the [MASK]` leaves no lone `▁`.
            AddedToken(piece, lstrip=piece == "[MASK]", normalized=False, special=True)
            for piece in SPECIAL_PIECES
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return tokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with corpus/")
    parser.add_argument("--work", type=Path, required=True, help="folder for intermediate files")
    parser.add_argument("--vocab-size", type=int, default=16_000)
    parser.add_argument("--lines", type=int, default=400_000, help="lines of the sample to learn from")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(f"tokenizers {tokenizers.__version__}")
    start = time.time()
    tokenizer = finished(train(args.data, args.vocab_size, args.lines, args.seed))
    pieces = [tokenizer.id_to_token(i) for i in range(len(SPECIAL_PIECES))]
    assert pieces == SPECIAL_PIECES, f"special pieces should be first, found {pieces}"
    path = args.work / "tokenizer.json"
    tokenizer.save(str(path), pretty=False)
    print(f"{tokenizer.get_vocab_size()} pieces in {time.time() - start:.0f} s, {path.stat().st_size} bytes")
    print(tokenizer.encode("She opened the [MASK] and didn't walk in (well-known: 3.5%).").tokens)


if __name__ == "__main__":
    main()
