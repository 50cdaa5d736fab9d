"""Quality of a PyTorch model on the held-out samples of heldout.py, for use while training."""

from pathlib import Path

import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from tokenizers import Tokenizer

import heldout


def padded(rows, device):
    width = max(map(len, rows))
    return torch.tensor([row + [0] * (width - len(row)) for row in rows], device=device)


def in_batches(items, size):
    return (items[i : i + size] for i in range(0, len(items), size))


@torch.no_grad()
def sts_spearman(model, data: Path, work: Path):
    """Spearman correlation of the cosines with the scores, STS benchmark development set."""
    device = next(model.parameters()).device
    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    pairs = heldout.sts_pairs(data)
    texts = [text for _, first, second in pairs for text in (first, second)]
    rows = [e.ids for e in tokenizer.encode_batch(texts)]
    vectors = torch.cat([model.sentence_vectors(padded(part, device)) for part in in_batches(rows, 100)]).float()
    cosines = F.cosine_similarity(vectors[::2], vectors[1::2]).cpu().numpy()
    return float(spearmanr(cosines, [score for score, _, _ in pairs]).statistic)


@torch.no_grad()
def masked_and_order(model, data: Path, work: Path, count: int):
    """Masked-token top-1, top-5, mean cross-entropy, and sentence-order accuracy on `count` wikitext-2 windows."""
    device = next(model.parameters()).device
    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    windows = heldout.wikitext_windows(data, tokenizer, count)
    top1 = top5 = total = right = 0
    loss = 0.0
    for part in in_batches(windows, 32):
        type_ids = padded([w.type_ids for w in part], device)
        hidden = model.hidden(padded([w.masked_ids for w in part], device), type_ids)
        rows = torch.tensor([r for r, w in enumerate(part) for _ in w.positions], device=device)
        columns = torch.tensor([p for w in part for p in w.positions], device=device)
        truth = torch.tensor([w.ids[p] for w in part for p in w.positions], device=device)
        logits = model.masked_logits(hidden[rows, columns]).float()
        best = logits.topk(5).indices == truth[:, None]
        top1, top5, total = top1 + int(best[:, 0].sum()), top5 + int(best.sum()), total + len(truth)
        loss += float(F.cross_entropy(logits, truth, reduction="sum"))
        order_types = padded([w.order_type_ids for w in part], device)
        hidden = model.hidden(padded([w.order_ids for w in part], device), order_types)
        right += int((model.order_logits(hidden[:, 0]).argmax(1).cpu() == torch.tensor([w.swapped for w in part])).sum())
    return {"top1": top1 / total, "top5": top5 / total, "loss": loss / total, "order": right / len(windows),
            "masked": total, "windows": len(windows)}


@torch.no_grad()
def fill(model, work: Path, text: str, count: int = 5):
    """The best pieces for the first `[MASK]` of a text."""
    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    ids = tokenizer.encode(text).ids
    device = next(model.parameters()).device
    hidden = model.hidden(torch.tensor([ids], device=device))
    logits = model.masked_logits(hidden[0, ids.index(heldout.MASK)])
    return " ".join(tokenizer.id_to_token(int(i)) for i in logits.topk(count).indices)
