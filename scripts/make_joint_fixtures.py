"""Writes what a beam search over several masks finds, computed with transformers' own AlbertForMaskedLM, for albert-tasks.

    python scripts/make_joint_fixtures.py [--pipelines crates/albert-tasks/tests/fixtures/pipelines]

Needs transformers, safetensors and torch. Reads the model that make_pipeline_fixtures.py left in PIPELINES/masked and writes
joint.json next to it: the fillings for each text, list of targets and beam width, the best first. The script prints the
versions it ran with.
"""

import argparse
import itertools
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file
from transformers import AlbertForMaskedLM, PreTrainedTokenizerFast

from tiny import write_json

TEXTS = [
    "She opened the [MASK] and walked in.",
    "[MASK] man is playing [MASK] guitar in the [MASK].",
    "the [MASK] of the [MASK] [MASK]",
]
BEAMS = [1, 2, 5, 16]
# One of them has two pieces in the fixture's vocabulary.
TARGETS = [None, ["door", "river", "windows"]]


class Joint:
    def __init__(self, folder: Path):
        self.model = AlbertForMaskedLM.from_pretrained(folder).eval()
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        self.mask = self.tokenizer.mask_token_id
        # 4.46.3 writes this bias and loses it when it reads the file; 5 does not.
        with torch.no_grad():
            self.model.predictions.bias.copy_(load_file(folder / "model.safetensors")["predictions.bias"])

    @torch.no_grad()
    def distribution(self, ids: list[int], at: int) -> torch.Tensor:
        return self.model(torch.tensor([ids])).logits[0, at].double().softmax(-1)

    def probability(self, ids: list[int], at: int, pieces: list[int]) -> float:
        """Of one piece its own; of k pieces the product, k masks in place of the one filled from left to right."""
        row, product = ids[:at] + [self.mask] * len(pieces) + ids[at + 1:], 1.0
        for step, piece in enumerate(pieces):
            product *= self.distribution(row, at + step)[piece].item()
            row[at + step] = piece
        return product

    def candidates(self, ids: list[int], at: int, targets, count: int) -> list[tuple[float, list[int]]]:
        if targets is None:
            best = self.distribution(ids, at).topk(count)
            return [(score, [piece]) for score, piece in zip(best.values.tolist(), best.indices.tolist())]
        return sorted(((self.probability(ids, at, pieces), pieces) for pieces in targets), reverse=True)[:count]

    def fill(self, text: str, targets, beam: int) -> list[dict]:
        pieces = targets and [self.tokenizer(target, add_special_tokens=False)["input_ids"] for target in targets]
        ids = self.tokenizer(text)["input_ids"]
        # A filling: its probability, its row, and what stands at each mask of the text.
        fillings = [(1.0, ids, [None] * ids.count(self.mask))]
        for _ in range(ids.count(self.mask)):
            grown = []
            for product, row, chosen in fillings:
                open_masks = [at for at, id in enumerate(row) if id == self.mask]
                ranked = [(self.candidates(row, at, pieces, beam), at) for at in open_masks]
                candidates, at = max(ranked, key=lambda it: it[0][0][0])
                number = [index for index, choice in enumerate(chosen) if choice is None][open_masks.index(at)]
                for score, choice in candidates:
                    new = chosen.copy()
                    new[number] = choice
                    grown.append((product * score, row[:at] + choice + row[at + 1:], new))
            grown.sort(key=lambda filling: -filling[0])
            fillings = []
            for filling in grown:
                if len(fillings) < beam and all(filling[2] != kept[2] for kept in fillings):
                    fillings.append(filling)
        return [{"ids": chosen, "score": product} for product, _, chosen in fillings]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipelines", type=Path, default=Path("crates/albert-tasks/tests/fixtures/pipelines"))
    folder = parser.parse_args().pipelines
    versions = {module.__name__: module.__version__ for module in (transformers, torch)}
    print(versions)
    joint = Joint(folder / "masked")
    answers = [{"text": text, "targets": targets, "beam": beam, "fillings": joint.fill(text, targets, beam)}
               for text, targets, beam in itertools.product(TEXTS, TARGETS, BEAMS)]
    write_json(folder / "joint.json", {"versions": versions, "answers": answers})


if __name__ == "__main__":
    main()
