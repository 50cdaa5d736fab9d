"""Writes the figures that the metrics of albert-train are tested against.

Random labels and predictions with their metrics by scikit-learn, SciPy, seqeval, and by
transformers' copy of SQuAD's official script; among them ties, empty predictions, and classes and
labels that never occur.

    python scripts/make_metric_fixtures.py

writes crates/albert-train/tests/fixtures/metrics.json.
"""

import json
import random
import sys
import warnings
from pathlib import Path

import numpy as np
import scipy
import sklearn
import transformers
from scipy.stats import pearsonr, spearmanr
from seqeval.metrics import classification_report
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    matthews_corrcoef,
)
from transformers.data.metrics import squad_metrics

OUT = Path("crates/albert-train/tests/fixtures/metrics.json")
draw = random.Random(7)


def classification(classes, count, labels, predictions):
    """Labels and predictions from so many of the classes: others never occur."""
    truth = [draw.randrange(labels) for _ in range(count)]
    found = [draw.randrange(predictions) for _ in range(count)]
    kind = "binary" if classes == 2 else "macro"
    return {
        "classes": classes,
        "labels": truth,
        "predictions": found,
        "accuracy": accuracy_score(truth, found),
        "f1": f1_score(truth, found, average=kind, zero_division=0),
        "mcc": matthews_corrcoef(truth, found),
    }


def correlation(count, levels):
    """Values of a few levels have ties."""
    a = [draw.randrange(levels) / 2 for _ in range(count)]
    b = [x + draw.gauss(0, 1) if levels > 6 else draw.randrange(levels) for x in a]
    return {
        "a": a,
        "b": b,
        "pearson": pearsonr(a, b)[0],
        "spearman": spearmanr(a, b)[0],
    }


def multi_label(classes, count, logits):
    truth = np.array([[draw.random() < 0.3 for _ in range(classes)] for _ in range(count)])
    truth[:, -1] = False
    scores = np.array([[draw.choice(logits) for _ in range(classes)] for _ in range(count)])
    found = scores > 0
    return {
        "classes": classes,
        "labels": truth.flatten().tolist(),
        "logits": scores.flatten().tolist(),
        "micro_f1": f1_score(truth, found, average="micro", zero_division=0),
        "macro_f1": f1_score(truth, found, average="macro", zero_division=0),
        "average_precision": average_precision_score(truth, scores),
    }


def tagging(prefixes, sentences):
    tags = ["O"] + [f"{prefix}-{kind}" for prefix in prefixes for kind in ("PER", "LOC", "X")]
    truth = [[draw.choice(tags[:-1]) for _ in range(draw.randrange(1, 9))] for _ in range(sentences)]
    found = [[tag if draw.random() < 0.6 else draw.choice(tags) for tag in row] for row in truth]
    report = classification_report(truth, found, output_dict=True, zero_division=0)
    total = report.pop("micro avg")
    figures = lambda row: [row["precision"], row["recall"], row["f1-score"], int(row["support"])]
    return {
        "labels": truth,
        "predictions": found,
        "total": figures(total),
        "types": {name: figures(row) for name, row in report.items() if not name.endswith(" avg")},
    }


def answers():
    words = ["The", "a", "river", "town,", "Bank", "of", "—", "an", "U.S.", "1990s", "river's", ""]
    text = lambda: " ".join(draw.choice(words) for _ in range(draw.randrange(0, 5)))
    cases = []
    for _ in range(200):
        gold = [text() or "river" for _ in range(draw.randrange(0, 4))]
        found = draw.choice(gold + [text(), ""])
        # As `get_raw_scores` of the official script.
        kept = [answer for answer in gold if squad_metrics.normalize_answer(answer)] or [""]
        cases.append(
            {
                "answers": gold,
                "prediction": found,
                "exact_match": max(squad_metrics.compute_exact(answer, found) for answer in kept),
                "f1": max(squad_metrics.compute_f1(answer, found) for answer in kept),
            }
        )
    return cases


def main():
    warnings.simplefilter("ignore")
    fixtures = {
        "classification": [
            classification(2, 40, 2, 2),
            classification(2, 10, 1, 2),
            classification(2, 10, 2, 1),
            classification(3, 40, 3, 3),
            classification(5, 30, 3, 4),
            classification(5, 30, 4, 1),
        ],
        "correlation": [correlation(50, 100), correlation(50, 5), correlation(7, 2)],
        "multi_label": [
            multi_label(4, 30, [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0]),
            multi_label(3, 20, [-1.0, -2.0]),
        ],
        "tagging": [tagging("BI", 30), tagging("I", 20), tagging("BIES", 40)],
        "answers": answers(),
    }
    OUT.write_text(json.dumps(fixtures, separators=(",", ":"), ensure_ascii=False) + "\n")
    versions = {module.__name__: module.__version__ for module in (np, scipy, sklearn, transformers)}
    print(f"{OUT}: {OUT.stat().st_size} bytes; Python {sys.version.split()[0]}, {versions}")


if __name__ == "__main__":
    main()
