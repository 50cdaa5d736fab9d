"""Writes small vocabularies and the answers of transformers' tokenizers to nasty texts.

    python scripts/make_tokenizer_fixtures.py [--out crates/albert-tasks/tests/fixtures/tokenizers]

Needs transformers 4.46.3 (the last line whose slow AlbertTokenizer is the reference), sentencepiece and protobuf.

OUT/sentencepiece has spiece.model, trained with ALBERT's options on scripts/sentences.txt, and cases.json:
`ids`, `pieces` and `type_ids` are the slow AlbertTokenizer's, special tokens added, nothing truncated. `for` lists the
settings that give this answer: "lower" or "cased" (do_lower_case), with "+accents" where keep_accents is true.
`offsets` are [start, end) in characters (Unicode scalar values) of the text itself, each of a pair in its own text,
[0, 0] for the special tokens around; they are the tokenizers library's with a normalizer and a Unigram model built from
spiece.model, which agrees with the reference except for a few texts. A `▁` that stands alone has the place of the
character it was put before. Where the library cuts otherwise, `offsets` is null.

OUT/bpe and OUT/characters have models of these types, without a character map, and the slow AlbertTokenizer's answers for
"lower"; `offsets` is null. With `--only` the others are left as they are.

OUT/wordpiece has vocab.txt, with the special tokens in unusual places, and cases.json: the slow BertTokenizer's answers
for "lower" and "cased", with the offsets of BertTokenizerFast, or null where that one cuts otherwise.
"""

import argparse
import io
import json
import shutil
import string
from pathlib import Path

import sentencepiece
import tokenizers
import transformers
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers, processors
from transformers import AlbertTokenizer, BertTokenizer, BertTokenizerFast

WRITTEN_BY = "4.46.3"
SENTENCES = Path(__file__).parent / "sentences.txt"
VOCAB_SIZE = 600
DIGIT_COMMA_PENALTY = 100.0

TEXTS = [
    # nothing, or nothing to see
    "", " ", "   ", "\t", "\n", "\r\n", " \t \n ", "\u00a0", "\u3000", "\u200b", "\u200d", "\ufeff", "\u00ad", "\x00", "\x01\x02", "\x7f",
    # spaces
    "  leading", "trailing  ", " both ", "two  spaces", "a\tb", "a\nb", "a\r\nb", "non\u00a0breaking", "thin\u2009space", "ideographic\u3000space",
    "zero\u200bwidth", "joined\u200dup", "soft\u00adhyphen", "\ufeffbyte order", "line\u2028separator", "next\u0085line", "vertical\x0btab", "form\x0cfeed",
    "nul\x00inside", "bell\x07", "escape\x1b[0m", "narrow\u202fspace", "en\u2002space", "left\u200eto\u200fright", "word\u2060joiner", "object\ufffcchar",
    # words
    "the river", "The Harbour Was Quiet", "LOUD CAPITALS", "MiXeD cAsE", "naïve café", "résumé façade", "It's the pump, isn't it?", "don't won't can't",
    "(brackets) [square] {curly}", "\"quoted\"", "'single'", "``quoted''", "''", "``", "'' ''", "a''b", "a``b", "'''", "```code```",
    "hyphen-ated", "en–dash", "em—dash", "ellipsis…", "dot.dot..dot...", "semi;colon:colon", "slash/slash\\back", "under_score", "at@sign #tag *star*",
    "50%", "a&b", "<tag>", "a=b+c", "~tilde^caret|pipe", "¿qué?", "«guillemets»", "“curly” ‘quotes’", "„low“", "′prime″", "-", "–", ".", ",", "( )",
    # digits and commas
    "3.0, 2011, 9,9", "In 2011, the old mill", "1,", "1,,", ",1", "9,9", "1,000,000", "1,000,000,", "2011,", "2011,2012", "2011, 2012,", "a1,", "a1,b", "1a,",
    "3,x", "x3,", "(9,)", "9 ,", "9, ", "£1,250", "$12.50", "€4,", "£75,000,", "4.25,", "1.2,3.4", "１２３,", "１,", "٣,", "½,", "²,", "10,\u00a0", "0,1,2,3,4,5,6,7,8,9,",
    "March 3, 2004, and March 9, 2005.", "12,,,34", "5,-", "5,\"",
    # other scripts and composed characters
    "e\u0301", "café\u0301", "cafe\u0301", "n\u0303o", "a\u0300\u0301\u0302b", "\u0301alone", "ﬁne ﬂow ﬃ", "ｆｕｌｌ　ｗｉｄｔｈ", "１２３４", "①②③", "x² H₂O", "½ ¼", "™ © ®", "℃ ㎏ ㍿", "Ⅳ ⅻ",
    "İstanbul", "ıspanak", "İI ıi", "STRASSE ẞ ß", "ΑΒΓ Σίσυφος ΟΔΟΣ", "Ångström Å", "Łódź Øre Æsir đ", "Ǆ ǅ ǆ", "Привет, мир", "Ёлка й",
    "东京", "東京タワー", "你好，世界。", "ｶﾞｷﾞ", "が", "か\u3099", "안녕하세요", "\u1112\u1161\u11ab\u1100\u116e\u11a8", "مرحبا بالعالم", "مُحَمَّد", "ﷺ", "ﻼ", "שָׁלוֹם", "नमस्ते", "यहाँ", "ภาษาไทย น้ำ", "தமிழ்", "ქართული", "Việt Nam", "the 東京 river",
    # emoji
    "😀 ok", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇫🇷", "❤️", "☺", "1️⃣", "ok😀ok", "🤷🏽‍♀️ shrug", "\U0001f9d1\u200d\U0001f680", "\U000e0067",
    # special tokens in the text
    "[CLS]", "[SEP]", "[MASK]", " [MASK] ", "the [MASK] river", "the[MASK]river", "[MASK].", "[MASK][MASK]", "[mask]", "[ MASK ]", "<pad>", "<unk>", "a <unk> b", "[CLS] the [SEP] river",
    "[PAD]", "[UNK]", "9,[MASK]", "[MASK],9,", "▁", "▁the", "the▁river", "▁ ▁", "_the", "##ing",
    # long
    "x" * 120, "abcdefghij" * 12, "1,2" * 15, "a " * 20, "é" * 30, "." * 30, "river" * 25 + "s",
    "Prices rose by 3.5 per cent in 2008, 2.1 per cent in 2009, and 0.4 in 2010 (see \"The Times\", p. 9).",
    "\ud7ff\ue000", "\U0010ffff", "\ufffd", "\ufdd0", "a\ufe0f", "\u034f", "a\u034fb", "\u180e", "\u2063", "\u115f", "\u3164", "\u00aa\u00ba", "\u0149", "\u1e9b\u0323", "\u0344", "\u0958", "\ufb1d", "\u2126 \u212b", "\u0130", "\u01c5",
    "UNwantéd,running", "unwanted running", "un wanted", "东unwanted京", "wantéd", "RUNNING,", "unwantedx",
]
PAIRS = [
    ("", ""), ("the river", ""), ("", "the river"), ("Is it true?", "Yes, in 2011, it was."), ("  x ", "\n y"), ("1,", "2,"), ("[MASK]", "the [MASK]"),
    ("the [SEP] river", "rose"), ("naïve", "NAÏVE"), ("东京", "京东"), ("\u200b", "\u200b"), ("'quoted'", "``quoted''"), ("a" * 40, "😀"),
    ("Water boils at 100 degrees.", "Light travels about 299,792 km in a second."),
]


def ask(tokenizer, text, pair):
    """ids, pieces and type ids of the reference."""
    encoded = tokenizer(text, pair)
    ids = encoded["input_ids"]
    return {"ids": ids, "pieces": tokenizer.convert_ids_to_tokens(ids), "type_ids": encoded["token_type_ids"]}


def places(tokenizer: tokenizers.Tokenizer):
    """ids and offsets of the tokenizers library. Asked itself, since transformers takes an empty second text for none."""
    def encode(text, pair):
        encoded = tokenizer.encode(text, pair)
        return encoded.ids, encoded.offsets

    return encode


def cases(settings):
    """The answer of each setting's (slow, fast) tokenizers to each text; settings that agree share one."""
    result, without, answers = [], 0, 0
    for text, pair in [(text, None) for text in TEXTS] + PAIRS:
        found = {}
        for name, (slow, fast) in settings.items():
            answer = ask(slow, text, pair)
            ids, offsets = fast(text, pair)
            answer["offsets"] = [list(span) for span in offsets] if ids == answer["ids"] else None
            found.setdefault(json.dumps(answer), []).append(name)
        case = {"text": text} | ({} if pair is None else {"pair": pair})
        case["answers"] = [{"for": names} | json.loads(answer) for answer, names in found.items()]
        answers += len(found)
        without += sum(answer["offsets"] is None for answer in case["answers"])
        result.append(case)
    print(f"  {len(result)} cases, {answers} answers, {without} of them without offsets")
    return result


def write_cases(path, settings, versions):
    lines = ",\n".join(json.dumps(case, ensure_ascii=True, separators=(",", ":")) for case in cases(settings))
    path.write_text(f'{{"versions":{json.dumps(versions)},\n"cases":[\n{lines}\n]}}\n')


# --- SentencePiece ---------------------------------------------------------------------------------------------------

def train(model_type="unigram", **options) -> bytes:
    """ALBERT's options, on sentences as they are and in small letters."""
    sentences = SENTENCES.read_text(encoding="utf-8").splitlines()
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences + [sentence.lower() for sentence in sentences]), model_writer=model,
        model_type=model_type, vocab_size=VOCAB_SIZE, pad_id=0, unk_id=1, bos_id=-1, eos_id=-1, pad_piece="<pad>",
        control_symbols=["[CLS]", "[SEP]", "[MASK]"], user_defined_symbols=list("()\"-.–£€"), character_coverage=1.0,
        num_threads=1, minloglevel=2, **options)
    return model.getvalue()


def library(model: bytes, lower: bool, accents: bool):
    """The tokenizers library from spiece.model alone."""
    proto = sentencepiece_model_pb2.ModelProto.FromString(model)
    pieces = [(piece.piece, piece.score) for piece in proto.pieces]
    # The reference cuts a piece that ends in a digit and a comma again. Making such pieces lose is nearly the same: not
    # where the piece's own ▁ or its want of one decides how the rest is cut ("3," without ▁ gives "▁", "3", ",").
    loses = lambda piece: len(piece) > 1 and piece.endswith(",") and piece[-2].isdigit()
    pieces = [(piece, score - DIGIT_COMMA_PENALTY * loses(piece)) for piece, score in pieces]
    tokenizer = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=1))
    steps = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    steps += [] if accents else [normalizers.NFKD(), normalizers.StripAccents()]
    steps += [normalizers.Lowercase()] if lower else []
    steps += [normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap), normalizers.Replace(Regex(" {2,}"), " ")]
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    special = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.add_special_tokens([AddedToken(piece, normalized=False, lstrip=piece == "[MASK]") for piece in special])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return places(tokenizer)


def write_sentencepiece(folder: Path, versions: dict) -> None:
    folder.mkdir(parents=True)
    model = train()
    path = folder / "spiece.model"
    path.write_bytes(model)
    pieces = [piece.piece for piece in sentencepiece_model_pb2.ModelProto.FromString(model).pieces]
    assert pieces[:13] == ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]", *"()\"-.–£€"], pieces[:13]
    digit_comma = [piece for piece in pieces if len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit()]
    print(f"sentencepiece: {len(pieces)} pieces, {len(digit_comma)} of them end in a digit and a comma")
    assert digit_comma, "no piece that the digit-comma rule could cut"
    settings = {}
    for name, lower in {"lower": True, "cased": False}.items():
        for suffix, accents in {"": False, "+accents": True}.items():
            slow = AlbertTokenizer(str(path), do_lower_case=lower, keep_accents=accents)
            settings[name + suffix] = (slow, library(model, lower, accents))
    write_cases(folder / "cases.json", settings, versions)


def write_other_model(folder: Path, model_type: str, versions: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "spiece.model"
    path.write_bytes(train(model_type, normalization_rule_name="identity", hard_vocab_limit=False))
    slow = AlbertTokenizer(str(path), do_lower_case=True)
    print(f"{model_type}: {len(slow)} pieces")
    write_cases(folder / "cases.json", {"lower": (slow, lambda text, pair: (None, None))}, versions)


# --- WordPiece -------------------------------------------------------------------------------------------------------

def vocabulary() -> list[str]:
    chinese = list("的一是不了人我在有他这为之大来以个中上们到说国和地也子时道出而要于就下得可你年生东京你好世界東")
    words = ["the", "river", "##s", "rose", "un", "##want", "##ed", "want", "runn", "##ing", ",", "it", "##'", "in", "and", "caf", "##e", "##é",
             "na", "##ive", "##ï", "##ve", "20", "##11", "##00", "LO", "##UD", "The", "H", "##arbour", "Привет", "привет", "мир", "##한", "안", "##녕"]
    characters = list(string.ascii_letters + string.digits + "!\"#$%&'()*+-./:;<=>?@[]^_`{|}~£€…–—“”，。½é")
    pieces = [f"##{character}" for character in string.ascii_letters + string.digits]
    return list(dict.fromkeys([*chinese[:20], "[MASK]", *chinese[20:], "[SEP]", *words, "[PAD]", *characters, "[UNK]", *pieces, "[CLS]"]))


def write_wordpiece(folder: Path, versions: dict) -> None:
    folder.mkdir(parents=True)
    vocab = vocabulary()
    path = folder / "vocab.txt"
    path.write_text("\n".join(vocab) + "\n", encoding="utf-8")
    print(f"wordpiece: {len(vocab)} pieces")
    settings = {}
    for name, lower in {"lower": True, "cased": False}.items():
        fast = BertTokenizerFast(str(path), do_lower_case=lower).backend_tokenizer
        settings[name] = (BertTokenizer(str(path), do_lower_case=lower), places(fast))
    write_cases(folder / "cases.json", settings, versions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("crates/albert-tasks/tests/fixtures/tokenizers"))
    parser.add_argument("--only", choices=["bpe", "char"], help="write one of these models alone")
    arguments = parser.parse_args()
    out = arguments.out
    assert transformers.__version__ == WRITTEN_BY, f"fixtures are written under transformers {WRITTEN_BY}"
    versions = {module.__name__: module.__version__ for module in (transformers, tokenizers, sentencepiece)}
    print(versions)
    folders = {"bpe": "bpe", "char": "characters"}
    if arguments.only:
        return write_other_model(out / folders[arguments.only], arguments.only, versions)
    shutil.rmtree(out, ignore_errors=True)
    for model_type, folder in folders.items():
        write_other_model(out / folder, model_type, versions)
    write_sentencepiece(out / "sentencepiece", versions)
    write_wordpiece(out / "wordpiece", versions)
    print(f"{sum(file.stat().st_size for file in out.rglob('*') if file.is_file()) / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
