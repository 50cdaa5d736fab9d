"""Joint training of the three heads from start.pt: masked pieces, sentence order, sentence vectors.

    train.py --data DIR --work DIR --steps 6000 [--device cuda]

Each step takes windows (masked pieces and order) and whole sentences (vectors after the teacher); every
fourth step masks short sentences instead of windows, so that the model knows a lone sentence.
The learning rate warms up, stays, and falls linearly to 0 over the last `--decay-steps`. A run that is killed
continues from checkpoint.pt where it was, and may then be given another `--steps`. Files in --work:

    checkpoint.pt   everything needed to resume, written every `--save-steps` and at the end
    train.jsonl     one row for each evaluation
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import quality
from model import AlbertForPreTraining, Config
from pack import CLS, SEP
from start import similarity_loss

MASK, FIRST_PIECE = 4, 5
#: Rather than ALBERT's 15 %: more predictions from each token of a short run.
MASK_PROBABILITY = 0.2
#: Rows are drawn in pools and batched by length, for little padding.
POOL = 1024
#: Sentences in one nearest-neighbor search, and the size of a group that it finds (the sentence itself included).
NEIGHBOR_BLOCK, NEIGHBORS = 50_000, 8
#: Longer sentences are left out of those groups, which cannot be batched by length.
NEIGHBOR_TOKENS = 28
NO_LABEL = -100


class Stream:
    """Indices 0 to count − 1, shuffled anew each pass; its position is two numbers."""

    def __init__(self, count, seed, pool=1, lengths=None):
        self.count, self.seed, self.pool, self.lengths = count, seed, pool, lengths
        self.state = {"pass": 0, "position": 0}
        self.order = None

    def shuffled(self):
        draw = np.random.default_rng([self.seed, self.state["pass"]])
        order = draw.permutation(self.count)
        if self.lengths is None:
            return order
        order = order[: self.count // self.pool * self.pool].reshape(-1, self.pool)
        return np.take_along_axis(order, np.argsort(self.lengths[order], axis=1, kind="stable"), axis=1).ravel()

    def take(self, size):
        if self.order is None:
            self.order = self.shuffled()
        if self.state["position"] + size > len(self.order):
            self.state = {"pass": self.state["pass"] + 1, "position": 0}
            self.order = self.shuffled()
        start = self.state["position"]
        self.state["position"] += size
        return self.order[start : start + size]


def type_ids_of(ids):
    """1 after the first `[SEP]`, 0 before, on it and on padding."""
    separators = (ids == SEP).long()
    return ((separators.cumsum(1) - separators > 0) & (ids != 0)).long()


def swap_segments(row, split):
    """`[CLS] A [SEP] B [SEP]` with A of `split` tokens to `[CLS] B [SEP] A [SEP]`."""
    end = int((row != 0).sum())
    first, second = row[1 : split + 1], row[split + 2 : end - 1]
    swapped = np.concatenate([[CLS], second, [SEP], first, [SEP]])
    return np.pad(swapped, (0, len(row) - end))


def mask_tokens(ids, generator):
    """Chosen positions become `[MASK]`, all of them: the sentences keep the model used to unmasked text."""
    chosen = (torch.rand(ids.shape, generator=generator) < MASK_PROBABILITY) & (ids >= FIRST_PIECE)
    return torch.where(chosen, MASK, ids), chosen


def depth_schedule(text):
    """`0:2,1800:4` as [(0, 2), (1800, 4)]: from that step on, that many layers."""
    return [tuple(map(int, part.split(":"))) for part in text.split(",")]


def group_losses(vectors, teacher, group):
    """Squared error of the cosines within the groups `(B,)` of near neighbors, and of all others."""
    unit = F.normalize(vectors, dim=1)
    error = (unit @ unit.T - teacher @ teacher.T).square()
    itself = torch.eye(len(group), dtype=torch.bool, device=group.device)
    together = group[:, None] == group[None]
    return error[together & ~itself].mean(), error[~together].mean()


class Run:
    def __init__(self, args):
        self.args, self.device = args, torch.device(args.device)
        self.windows = np.load(args.work / "windows.u16.npy", mmap_mode="r")
        self.splits = np.load(args.work / "windows.split.u8.npy")
        self.sentences = np.load(args.work / "sentences.u16.npy")[2000:]  # the first 2,000 are held out
        self.teacher = np.load(args.work / "sentences.f16.npy")[2000:].astype(np.float32)
        self.lengths = (self.sentences != 0).sum(1)
        window_lengths = (self.windows != 0).sum(1)
        self.streams = {
            "windows": Stream(len(self.windows), args.seed, POOL, window_lengths),
            "vectors": Stream(len(self.sentences), args.seed + 1, POOL, self.lengths),
            "short": Stream(len(self.sentences), args.seed + 2, POOL, self.lengths),
        }
        self.generator = torch.Generator().manual_seed(args.seed)
        self.step, self.elapsed, self.tokens = 0, 0.0, 0

        saved = args.work / "checkpoint.pt"
        state = torch.load(saved if saved.exists() else args.work / "start.pt", weights_only=False)
        self.config = Config(**state["config"])
        self.model = AlbertForPreTraining(self.config).to(self.device)
        self.model.load_state_dict(state["model"])
        self.projection = torch.nn.Linear(self.config.hidden_size, 384).to(self.device)
        self.projection.load_state_dict(state["projection"])
        self.make_optimizers()
        if saved.exists():
            for optimizer, held in zip(self.optimizers, state["optimizers"]):
                optimizer.load_state_dict(held)
            for name, held in state["streams"].items():
                self.streams[name].state = held
            self.generator.set_state(state["generator"])
            self.step, self.elapsed, self.tokens = (state[name] for name in ("step", "elapsed", "tokens"))
            print(f"continues at step {self.step}, {self.elapsed:.0f} s")

    def make_optimizers(self):
        embeddings = self.model.albert.embeddings
        # Sinusoids as they start: positions past the windows' length keep their meaning.
        embeddings.position_embeddings.weight.requires_grad_(False)
        matrices, vectors = [], []
        for name, parameter in self.model.named_parameters():
            if "embeddings." in name and "LayerNorm" not in name:
                continue
            is_matrix = parameter.ndim == 2 and min(parameter.shape) > 2
            (matrices if is_matrix else vectors).append(parameter)
        vectors += [*self.projection.parameters(), embeddings.token_type_embeddings.weight]
        args = self.args
        self.optimizers = [
            torch.optim.Muon(matrices, lr=args.matrix_lr, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(
                # The table holds what step 0 knows about similarity: it moves slowest.
                [{"params": [embeddings.word_embeddings.weight], "lr": args.table_lr}, {"params": vectors, "lr": args.lr}],
                betas=(0.9, 0.98), weight_decay=0.0, fused=True,
            ),
        ]
        self.peak_rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]

    def set_learning_rates(self):
        factor = min(self.step / self.args.warmup_steps, 1.0, (self.args.steps - self.step) / self.args.decay_steps)
        for optimizer, rates in zip(self.optimizers, self.peak_rates):
            for group, rate in zip(optimizer.param_groups, rates):
                group["lr"] = rate * factor
        return factor

    def set_depth(self):
        """The shared layer used fewer times at first: the same weights, nearly twice the steps."""
        depth = max(depth for start, depth in self.args.depths if self.step >= start)
        self.model.albert.encoder.num_hidden_layers = min(depth, self.config.num_hidden_layers)

    def autocast(self):
        """Products in bf16; weights, losses and the optimizers' state stay f32."""
        return torch.autocast(self.device.type, torch.bfloat16)

    def window_batch(self):
        """Ids `(B, T)` with half of the ordered rows swapped, and order labels `(B,)`."""
        index = self.streams["windows"].take(self.args.windows)
        rows, labels = self.windows[index].astype(np.int64), np.full(len(index), NO_LABEL)
        flips = torch.rand(len(index), generator=self.generator) < 0.5
        for i, split in enumerate(self.splits[index]):
            if split:
                labels[i] = int(flips[i])
                if flips[i]:
                    rows[i] = swap_segments(rows[i], int(split))
        rows = torch.from_numpy(rows)
        return rows[:, : int((rows != 0).sum(1).max())], torch.from_numpy(labels)

    def sentence_batch(self, stream, size):
        index = self.streams[stream].take(size)
        ids = torch.from_numpy(self.sentences[index].astype(np.int64))
        return index, ids[:, : int((ids != 0).sum(1).max())]

    def neighbor_batch(self, size):
        """A few sentences, each with its nearest by the teacher in a random block of the others, and their groups.

        In a random batch nearly every pair is unrelated; these teach the order among related ones.
        """
        block_size = min(NEIGHBOR_BLOCK, len(self.teacher))
        start = int(torch.randint(len(self.teacher) - block_size + 1, (), generator=self.generator))
        block = self.teacher[start : start + block_size]
        seeds = torch.randint(block_size, (size // NEIGHBORS,), generator=self.generator).numpy()
        nearest = np.argpartition(-(block[seeds] @ block.T), NEIGHBORS, axis=1)[:, :NEIGHBORS]
        index, group = start + nearest.ravel(), np.arange(nearest.size) // NEIGHBORS
        short = self.lengths[index] <= NEIGHBOR_TOKENS
        index = index[short]
        ids = torch.from_numpy(self.sentences[index].astype(np.int64))
        return index, ids[:, : int((ids != 0).sum(1).max())], torch.from_numpy(group[short])

    def head_losses(self):
        """Masked loss and order loss on windows or on short sentences."""
        if self.step % 4 == 3:
            ids = self.sentence_batch("short", self.args.short)[1]
            labels = torch.full((len(ids),), NO_LABEL)
        else:
            ids, labels = self.window_batch()
        masked, chosen = mask_tokens(ids, self.generator)
        rows, columns = chosen.nonzero(as_tuple=True)
        truth = ids[rows, columns].to(self.device)
        self.tokens += int((ids != 0).sum())
        # States are needed at the chosen positions and, for the order, at each row's [CLS].
        positions = torch.cat([rows, torch.arange(len(ids))]), torch.cat([columns, torch.zeros(len(ids), dtype=torch.int64)])
        positions = tuple(index.to(self.device) for index in positions)
        with self.autocast():
            hidden = self.model.hidden(masked.to(self.device), type_ids_of(ids).to(self.device), positions)
            logits = self.model.masked_logits(hidden[: len(rows)])
            order = self.model.order_logits(hidden[len(rows) :]).float()
        logits = logits.float()
        losses = {"masked": F.cross_entropy(logits, truth)}
        with torch.no_grad():
            losses["top1"] = (logits.argmax(1) == truth).float().mean()
        if (labels != NO_LABEL).any():
            labels = labels.to(self.device)
            losses["order"] = F.cross_entropy(order, labels, ignore_index=NO_LABEL)
            with torch.no_grad():
                known = labels != NO_LABEL
                losses["order_right"] = (order.argmax(1) == labels)[known].float().mean()
        return losses

    def vector_losses(self):
        size = self.args.sentences
        if self.step % 2:
            index, ids, group = self.neighbor_batch(size)
        else:
            index, ids = self.sentence_batch("vectors", size)
        teacher = torch.from_numpy(self.teacher[index]).to(self.device)
        self.tokens += int((ids != 0).sum())
        with self.autocast():
            vectors = self.model.sentence_vectors(ids.to(self.device))
        vectors = vectors.float()
        losses = {"cosine": F.cosine_similarity(self.projection(vectors), teacher).mean()}
        if self.step % 2:
            near, far = group_losses(vectors, teacher, group.to(self.device))
            return losses | {"near": near, "similarity": near + far}
        return losses | {"similarity": similarity_loss(vectors, teacher)}

    def train_step(self):
        args = self.args
        factor = self.set_learning_rates()
        self.set_depth()
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        losses = self.head_losses() | self.vector_losses()
        total = losses["masked"] + args.order_weight * losses.get("order", 0.0)
        total = total + args.vector_weight * (1 - losses["cosine"] + 10 * losses["similarity"])
        total.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        return factor, {name: float(value.detach()) for name, value in losses.items()}

    def state(self):
        return {
            "config": vars(self.config), "model": self.model.state_dict(), "projection": self.projection.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "streams": {name: stream.state for name, stream in self.streams.items()},
            "generator": self.generator.get_state(),
            "step": self.step, "elapsed": self.elapsed, "tokens": self.tokens,
        }

    def save(self, name):
        """Writes a temporary file and renames it: a kill leaves the old file or the new one."""
        temporary = self.args.work / f"{name}.partial"
        torch.save(self.state(), temporary)
        os.replace(temporary, self.args.work / name)

    def evaluate(self):
        """Always at full depth."""
        self.model.albert.encoder.num_hidden_layers = self.config.num_hidden_layers
        data, work = self.args.data, self.args.work
        row = {"step": self.step, "seconds": round(self.elapsed), "tokens": self.tokens,
               "sts": quality.sts_spearman(self.model, data, work),
               **quality.masked_and_order(self.model, data, work, self.args.evaluate_windows)}
        row = {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}
        row["door"] = quality.fill(self.model, work, "She opened the [MASK] and walked in.")
        row["paris"] = quality.fill(self.model, work, "Paris is the [MASK] of France.")
        with open(work / "train.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        print(json.dumps(row, ensure_ascii=False), flush=True)

    def train(self):
        args = self.args
        means, since, tokens = {}, time.time(), self.tokens
        if self.step == 0:
            self.evaluate()
        while self.step < args.steps:
            started = time.time()
            factor, values = self.train_step()
            self.elapsed += time.time() - started
            for name, value in values.items():
                total, number = means.get(name, (0.0, 0))
                means[name] = (total + value, number + 1)
            if self.step % args.log_steps == 0:
                text = "  ".join(f"{name} {total / number:.4f}" for name, (total, number) in means.items())
                speed = (self.tokens - tokens) / (time.time() - since)
                print(f"{self.step} {self.elapsed:.0f}s lr×{factor:.3f}  {text}  {speed:.0f} tokens/s", flush=True)
                means, since, tokens = {}, time.time(), self.tokens
            done = self.step == args.steps
            if done or self.step % args.save_steps == 0:
                self.save("checkpoint.pt")
            if done or self.step % args.evaluate_steps == 0:
                self.evaluate()
                since = time.time()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with eval/")
    parser.add_argument("--work", type=Path, required=True, help="folder of start.pt and the packed files")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (bf16 autocast)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--steps", type=int, required=True, help="steps in all, over every resumption")
    parser.add_argument("--decay-steps", type=int, default=2000, help="last steps, over which the learning rate falls to 0")
    parser.add_argument("--windows", type=int, default=32, help="windows of at most 128 tokens per step")
    parser.add_argument("--short", type=int, default=128, help="sentences of a step that masks sentences")
    parser.add_argument("--sentences", type=int, default=64, help="sentences per step for the teacher's vectors")
    parser.add_argument("--matrix-lr", type=float, default=1e-3, help="peak, weight matrices (Muon)")
    parser.add_argument("--table-lr", type=float, default=1.5e-4, help="peak, piece embeddings (Adam)")
    parser.add_argument("--lr", type=float, default=5e-4, help="peak, all else (Adam)")
    parser.add_argument("--warmup-steps", type=int, default=100)
    parser.add_argument("--depths", type=depth_schedule, default=[(0, sys.maxsize)],
                        help="step:layers, rising, for a model from start.py (default: all layers at every step)")
    parser.add_argument("--order-weight", type=float, default=1.0)
    parser.add_argument("--vector-weight", type=float, default=6.0)
    parser.add_argument("--log-steps", type=int, default=50)
    parser.add_argument("--save-steps", type=int, default=250)
    parser.add_argument("--evaluate-steps", type=int, default=1000)
    parser.add_argument("--evaluate-windows", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(f"torch {torch.__version__}, numpy {np.__version__}, {vars(args)}", flush=True)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    Run(args).train()


if __name__ == "__main__":
    main()
