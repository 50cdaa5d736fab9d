"""Fine-tunes one model on seven data sets, by transformers with PyTorch and by albert-cli.

    python benches/peers/fine_tune.py --data DIR [--start MODEL] [--rows N] [TASK …]

Both start from the same folder, see the same examples in the same number of steps, and have the
same settings: AdamW (0.9, 0.999, 1e-8), weight decay 0.01 except for biases and norms, a linear
schedule without warm-up, clipping to 1, the dropout of the configuration, the last weights. Heads,
order and dropout are drawn from the seed, by each side in its own way. Prints the mean and the
standard error over the seeds, and the processor time of one run, evaluation included.

DIR has sst2/, trec/, cola/, stsb/, banking77/, wnut17/ and xquad/. With --rows N, each trains on its
first N rows. The sides take turns, each in a process of its own. Needs torch, transformers,
scikit-learn, SciPy and seqeval.
"""

import argparse
import csv
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

# Name: task, metric, learning rate, epochs, batch, maximum length.
TASKS = {
    "sst2": ("classification", "accuracy", 1e-4, 3, 32, 128),
    "trec": ("classification", "accuracy", 2e-4, 5, 32, 128),
    "cola": ("classification", "mcc", 1e-4, 3, 32, 128),
    "stsb": ("regression", "pearson", 1e-4, 3, 32, 128),
    "banking77": ("classification", "accuracy", 3e-4, 5, 32, 128),
    "wnut17": ("tagging", "f1", 3e-4, 5, 32, 128),
    "xquad": ("answering", "f1", 3e-4, 5, 16, 384),
}
HELD = 500


def lines(path):
    return path.read_bytes().decode("utf-8", errors="replace").splitlines()


def split(rows):
    """Holds rows out of a data set that has no evaluation part."""
    random.Random(0).shuffle(rows)
    return rows[HELD:], rows[:HELD]


def labeled(path):
    pairs = [line.split(" ", 1) for line in lines(path)]
    return [{"text": text, "label": label} for label, text in pairs]


def sentences(path):
    rows, tokens, tags = [], [], []
    for line in [*lines(path), ""]:
        if line.strip():
            token, tag = line.split("\t")[:2]
            tokens.append(token)
            tags.append(tag.strip())
        elif tokens:
            rows.append({"tokens": tokens, "tags": tags})
            tokens, tags = [], []
    return rows


def read(name, data):
    folder = data / name
    if name == "sst2":
        return labeled(folder / "stsa.binary.train"), labeled(folder / "stsa.binary.dev")
    if name == "trec":
        return split(labeled(folder / "TREC.train.all"))
    if name == "cola":
        rows = lambda part: [
            {"text": cells[3], "label": cells[1]}
            for cells in (line.split("\t") for line in lines(folder / f"in_domain_{part}.tsv"))
        ]
        return rows("train"), rows("dev")
    if name == "stsb":
        rows = lambda part: [
            {"first": cells[5], "second": cells[6], "label": float(cells[4])}
            for cells in (line.split("\t") for line in lines(folder / f"sts-{part}.csv"))
        ]
        return rows("train"), rows("dev")
    if name == "banking77":
        with open(folder / "train.csv", newline="", encoding="utf-8") as file:
            rows = [{"text": row["text"], "label": row["category"]} for row in csv.DictReader(file)]
        return split(rows)
    if name == "wnut17":
        return sentences(folder / "wnut17train.conll"), sentences(folder / "emerging.dev.conll")
    articles = json.loads((folder / "xquad.en.half.json").read_text())["data"]
    rows = []
    for paragraph in (paragraph for article in articles for paragraph in article["paragraphs"]):
        for question in paragraph["qas"]:
            answers = question["answers"]
            rows.append(
                {
                    "id": question["id"],
                    "question": question["question"],
                    "context": paragraph["context"],
                    "answers": {
                        "text": [answer["text"] for answer in answers],
                        "answer_start": [answer["answer_start"] for answer in answers],
                    },
                }
            )
    held = len(rows) // 5
    return rows[held:], rows[:held]


def seconds(who):
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def by_albert(arguments, name, seed):
    cli, model, work = arguments.cli, arguments.model, arguments.work
    task, metric, rate, epochs, batch, length = TASKS[name]
    field = ["--field", "first,second"] if name == "stsb" else []
    with tempfile.TemporaryDirectory() as folder:
        command = [
            cli, "finetune", "--quiet", "--task", task, "--model", model, "--train",
            work / f"{name}.train.jsonl", "--eval", work / f"{name}.dev.jsonl", "--output",
            Path(folder) / "out", "--learning-rate", rate, "--epochs", epochs, "--batch-size", batch,
            "--max-length", length, "--seed", seed, "--threads", arguments.threads, "--keep-last",
            "--eval-every", 1_000_000, *field,
        ]  # fmt: skip
        before = seconds(resource.RUSAGE_CHILDREN)
        output = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
        spent = seconds(resource.RUSAGE_CHILDREN) - before
    return json.loads(output.stdout)[metric], spent


def by_torch(arguments, name, seed):
    command = [sys.executable, __file__, "--torch", name, "--seed", seed, "--work", arguments.work]
    before = seconds(resource.RUSAGE_CHILDREN)
    command += ["--model", arguments.model, "--threads", arguments.threads]
    output = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    spent = seconds(resource.RUSAGE_CHILDREN) - before
    return json.loads(output.stdout.splitlines()[-1]), spent


class Side:
    """One run by transformers and PyTorch."""

    def __init__(self, name, seed, work, model):
        import torch
        import transformers

        self.torch, self.transformers = torch, transformers
        self.task, self.metric, self.rate, self.epochs, self.batch, self.length = TASKS[name]
        torch.manual_seed(seed)
        self.order = random.Random(seed)
        rows = lambda part: [json.loads(row) for row in open(work / f"{name}.{part}.jsonl")]
        self.train, self.dev = rows("train"), rows("dev")
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(model)
        kinds = {
            "classification": transformers.AutoModelForSequenceClassification,
            "regression": transformers.AutoModelForSequenceClassification,
            "tagging": transformers.AutoModelForTokenClassification,
            "answering": transformers.AutoModelForQuestionAnswering,
        }
        key = "tags" if self.task == "tagging" else "label"
        if self.task == "classification":
            self.labels = sorted({row[key] for row in self.train})
        elif self.task == "tagging":
            self.labels = sorted({tag for row in self.train for tag in row[key]})
        else:
            self.labels = ["value"]
        extra = {"problem_type": "regression"} if self.task == "regression" else {}
        self.model = kinds[self.task].from_pretrained(model, num_labels=len(self.labels), **extra)

    def features(self, rows):
        """Token ids and targets of every sequence."""
        features = []
        for index, row in enumerate(rows):
            if self.task == "answering":
                features += self.windows(index, row)
                continue
            if self.task == "tagging":
                encoded = self.tokenizer(
                    row["tokens"], is_split_into_words=True, truncation=True, max_length=self.length
                )
                target, before = [], None
                for word in encoded.word_ids():
                    is_first = word is not None and word != before
                    target.append(self.labels.index(row["tags"][word]) if is_first else -100)
                    before = word
            else:
                texts = [row["first"], row["second"]] if "first" in row else [row["text"]]
                encoded = self.tokenizer(*texts, truncation=True, max_length=self.length)
                label = row["label"]
                target = float(label) if self.task == "regression" else self.labels.index(label)
            features.append(
                {
                    "ids": encoded["input_ids"],
                    "types": encoded["token_type_ids"],
                    "target": target,
                }
            )
        return features

    def windows(self, index, row):
        encoded = self.tokenizer(
            row["question"].lstrip(), row["context"], truncation="only_second",
            max_length=self.length, stride=128, return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )  # fmt: skip
        start = row["answers"]["answer_start"][0]
        end = start + len(row["answers"]["text"][0])
        windows = []
        for window, offsets in enumerate(encoded["offset_mapping"]):
            owners = encoded.sequence_ids(window)
            inside = [token for token, owner in enumerate(owners) if owner == 1]
            target = (0, 0)
            if offsets[inside[0]][0] <= start and offsets[inside[-1]][1] >= end:
                first = max(token for token in inside if offsets[token][0] <= start)
                last = min(token for token in inside if offsets[token][1] >= end)
                target = (first, last)
            windows.append(
                {
                    "ids": encoded["input_ids"][window],
                    "types": encoded["token_type_ids"][window],
                    "target": target,
                    "question": index,
                    "offsets": offsets,
                    "inside": set(inside),
                }
            )
        return windows

    def inputs(self, features):
        torch = self.torch
        longest = max(len(feature["ids"]) for feature in features)
        pad = lambda values, fill: values + [fill] * (longest - len(values))
        inputs = {
            "input_ids": [pad(feature["ids"], 0) for feature in features],
            "token_type_ids": [pad(feature["types"], 0) for feature in features],
            "attention_mask": [pad([1] * len(feature["ids"]), 0) for feature in features],
        }
        targets = [feature["target"] for feature in features]
        if self.task == "answering":
            inputs["start_positions"] = [target[0] for target in targets]
            inputs["end_positions"] = [target[1] for target in targets]
        elif self.task == "tagging":
            inputs["labels"] = [pad(target, -100) for target in targets]
        else:
            inputs["labels"] = targets
        return {name: torch.tensor(values) for name, values in inputs.items()}

    def run(self):
        torch = self.torch
        features = self.features(self.train)
        is_plain = lambda name: name.endswith("bias") or "LayerNorm" in name or "layer_norm" in name
        named = list(self.model.named_parameters())
        groups = [
            {"params": [p for name, p in named if not is_plain(name)], "weight_decay": 0.01},
            {"params": [p for name, p in named if is_plain(name)], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.rate, eps=1e-8)
        steps = -(-len(features) // self.batch) * self.epochs
        schedule = self.transformers.get_linear_schedule_with_warmup(optimizer, 0, steps)
        self.model.train()
        for _ in range(self.epochs):
            self.order.shuffle(features)
            for start in range(0, len(features), self.batch):
                loss = self.model(**self.inputs(features[start : start + self.batch])).loss
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
        self.model.eval()
        features = self.features(self.dev)
        outputs = []
        with torch.no_grad():
            for start in range(0, len(features), 64):
                outputs.append(self.model(**self.inputs(features[start : start + 64])))
        return self.score(features, outputs)

    def score(self, features, outputs):
        from scipy.stats import pearsonr
        from seqeval.metrics import f1_score
        from sklearn.metrics import accuracy_score, matthews_corrcoef

        if self.task == "answering":
            return self.answer_f1(features, outputs)
        targets = [feature["target"] for feature in features]
        if self.task == "tagging":
            rows = (row for output in outputs for row in output.logits.argmax(-1).tolist())
            truth, found = [], []
            for target, row in zip(targets, rows):
                kept = [token for token, label in enumerate(target) if label >= 0]
                truth.append([self.labels[target[token]] for token in kept])
                found.append([self.labels[row[token]] for token in kept])
            return f1_score(truth, found)
        logits = self.torch.cat([output.logits for output in outputs])
        if self.task == "regression":
            return float(pearsonr(logits[:, 0].tolist(), targets)[0])
        score = {"accuracy": accuracy_score, "mcc": matthews_corrcoef}[self.metric]
        return float(score(targets, logits.argmax(-1).tolist()))

    def answer_f1(self, features, outputs):
        from transformers.data.metrics.squad_metrics import compute_f1

        starts = (row for output in outputs for row in output.start_logits.tolist())
        ends = (row for output in outputs for row in output.end_logits.tolist())
        best = {}
        for feature, start, end in zip(features, starts, ends):
            context = self.dev[feature["question"]]["context"]
            highest = lambda row: sorted(range(len(row)), key=lambda i: -row[i])[:20]
            for first in highest(start):
                for last in highest(end):
                    if not {first, last} <= feature["inside"] or not first <= last < first + 30:
                        continue
                    score = start[first] + end[last]
                    if score > best.get(feature["question"], (float("-inf"), ""))[0]:
                        text = context[feature["offsets"][first][0] : feature["offsets"][last][1]]
                        best[feature["question"]] = (score, text.strip())
        scores = [
            max(compute_f1(gold, best.get(index, (0, ""))[1]) for gold in row["answers"]["text"])
            for index, row in enumerate(self.dev)
        ]
        return 100 * statistics.mean(scores)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tasks", nargs="*", choices=[*TASKS, []])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--cli", default="target/release/albert-cli")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--start", type=Path, help="model folder [default: the built-in model]")
    parser.add_argument("--rows", type=int, help="rows to train on [default: all]")
    parser.add_argument("--torch")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--model", type=Path)
    arguments = parser.parse_args()
    if arguments.torch:
        import torch

        torch.set_num_threads(arguments.threads)
        side = Side(arguments.torch, arguments.seed, arguments.work, arguments.model)
        print(json.dumps(side.run()))
        return
    import torch
    import transformers

    print(f"torch {torch.__version__}, transformers {transformers.__version__}, {arguments.threads} threads")
    with tempfile.TemporaryDirectory() as folder:
        arguments.work, arguments.model = Path(folder), arguments.start
        if arguments.model is None:
            arguments.model = Path(folder) / "start"
            convert = [arguments.cli, "convert", "--quiet", "--output", str(arguments.model)]
            subprocess.run(convert, check=True)
        for name in arguments.tasks or TASKS:
            train, dev = read(name, arguments.data)
            train = train[: arguments.rows]
            if TASKS[name][0] == "classification":
                known = {row["label"] for row in train}
                dev = [row for row in dev if row["label"] in known]
            for part, rows in [("train", train), ("dev", dev)]:
                path = arguments.work / f"{name}.{part}.jsonl"
                path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            results = {"torch": [], "albert-cli": []}
            for seed in range(1, arguments.seeds + 1):
                results["torch"].append(by_torch(arguments, name, seed))
                results["albert-cli"].append(by_albert(arguments, name, seed))
            for side, found in results.items():
                scores = [score for score, _ in found]
                error = statistics.stdev(scores) / len(scores) ** 0.5 if len(scores) > 1 else 0.0
                spent = statistics.mean(time for _, time in found)
                print(
                    f"{name:10} {len(train):6} examples  {side:10} {TASKS[name][1]:8} "
                    f"{statistics.mean(scores):.4f} ± {error:.4f}  {spent:.1f} CPU-s",
                    flush=True,
                )


if __name__ == "__main__":
    sys.exit(main())
