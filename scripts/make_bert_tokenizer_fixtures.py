"""Writes the answers of transformers' BertTokenizer and BertTokenizerFast to difficult texts, for each kind of BERT.

    python scripts/make_bert_tokenizer_fixtures.py              # writes, under transformers 4.46.3
    python scripts/make_bert_tokenizer_fixtures.py --witness    # compares another version, such as 5, and writes nothing

Needs what make_tokenizer_fixtures.py needs, whose vocabulary and texts it takes.

OUT/KIND has tokenizer.json, as BertTokenizerFast saves it, and tokenizer_config.json; OUT/vocab.txt belongs to all.
OUT/cases.json lists texts, and for each kind `fast`, the ids of BertTokenizerFast, and `slow`, those of BertTokenizer
where they differ.
"""

import argparse
import json
import shutil
from pathlib import Path

import tokenizers
import transformers
from make_tokenizer_fixtures import PAIRS, TEXTS, WRITTEN_BY, vocabulary
from transformers import AutoTokenizer, BertTokenizer, BertTokenizerFast

# The settings of tokenizer_config.json by which BERTs differ.
KINDS = {
    "uncased": dict(do_lower_case=True),
    "cased": dict(do_lower_case=False),
    # As bert-base-chinese, whose tokenizer.json lowercases and whose tokenizer_config.json says that
    # capitals are kept: BertTokenizerFast follows the second.
    "chinese": dict(do_lower_case=False),
    # As German BERTs without capitals, whose umlauts are letters.
    "umlauts": dict(do_lower_case=True, strip_accents=False),
    # As BERTs for languages whose words contain Chinese characters.
    "joined": dict(do_lower_case=False, tokenize_chinese_chars=False),
}

MORE_TEXTS = [
    # the longest word that is cut, and the shortest that is unknown
    "x" * 100, "x" * 101, "é" * 100, "e\u0301" * 60, "东" * 120,
    # Chinese characters in every block, and others that look like them
    "\U00020000", "\U0002f800", "\uf900", "㐀", "㇀", "々〆", "中国のThe東京river", "你好世界", "我在东京。", "的 一 是", "ＡＢＣ你好", "龘",
    # accents, alone and composed
    "Äpfel Öl Übung ß", "ÀÉÎÕÜ", "a\u0308 o\u0308", "ñandú", "ÅÆØ", "Ǖ ǖ", "\u1e69 s\u0323\u0307 s\u0307\u0323", "x\u0300\u0316",
    # control and format characters
    "a\u0000b\u0007c\u001fd", "a\u0085b", "\u2066left\u2069", "\u202eright", "tab\tnew\nline\rend", "\ufff9\ufffa\ufffb", "a\u00adb",
    # emoji
    "🙂🙃", "a🙂b", "👩🏽‍💻 works", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "☕️☕", "©®™",
    # punctuation without spaces
    "un-want-ed", "a.b,c;d", "$100%", "…the…", "。，、", "(the)[river]{rose}", "it's", "''it''",
]


def witness(out: Path) -> None:
    """Prints how many answers of this version differ from those of 4.46.3."""
    print(f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}")
    cases = json.loads((out / "cases.json").read_text())["cases"]
    for kind in KINDS:
        backend = AutoTokenizer.from_pretrained(out / kind).backend_tokenizer
        found = [backend.encode(case["text"], case.get("pair")).ids for case in cases]
        differ = [case["text"] for case, ids in zip(cases, found) if ids != case["answers"][kind]["fast"]]
        print(f"{kind:8} {len(cases)} texts and pairs, {len(differ)} of them cut differently {differ[:3]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("crates/albert-tasks/tests/fixtures/tokenizers-bert"))
    parser.add_argument("--witness", action="store_true")
    arguments = parser.parse_args()
    out = arguments.out
    if arguments.witness:
        return witness(out)
    assert transformers.__version__ == WRITTEN_BY, f"fixtures are written under transformers {WRITTEN_BY}"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    vocab = out / "vocab.txt"
    vocab.write_text("\n".join(vocabulary()) + "\n", encoding="utf-8")
    cases = [{"text": text} for text in TEXTS + MORE_TEXTS]
    cases += [{"text": text, "pair": pair} for text, pair in PAIRS]
    for kind, settings in KINDS.items():
        slow, fast = BertTokenizer(str(vocab), **settings), BertTokenizerFast(str(vocab), **settings)
        fast.save_pretrained(out / kind, legacy_format=False)
        for file in (out / kind).iterdir():
            if file.name not in ("tokenizer.json", "tokenizer_config.json"):
                file.unlink()
        # One line: it is a tenth of the size.
        path = out / kind / "tokenizer.json"
        saved = json.loads(path.read_text())
        saved["normalizer"]["lowercase"] |= kind == "chinese"
        path.write_text(json.dumps(saved, ensure_ascii=False, separators=(",", ":")) + "\n")
        fast = BertTokenizerFast.from_pretrained(out / kind)
        differ = 0
        for case in cases:
            # Asked itself, since transformers takes an empty second text for none.
            quick = fast.backend_tokenizer.encode(case["text"], case.get("pair")).ids
            careful = slow(case["text"], case.get("pair"))["input_ids"]
            answer = {"fast": quick} | ({} if careful == quick else {"slow": careful})
            differ += careful != quick
            case.setdefault("answers", {})[kind] = answer
        print(f"{kind:8} {len(cases)} texts and pairs, {differ} of them cut differently by BertTokenizerFast")
    versions = {module.__name__: module.__version__ for module in (transformers, tokenizers)}
    print(versions)
    lines = ",\n".join(json.dumps(case, ensure_ascii=True, separators=(",", ":")) for case in cases)
    (out / "cases.json").write_text(f'{{"versions":{json.dumps(versions)},\n"cases":[\n{lines}\n]}}\n')
    print(f"{sum(file.stat().st_size for file in out.rglob('*') if file.is_file()) / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
