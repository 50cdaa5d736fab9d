"""A last stretch for the sentence vectors: batches of near neighbors, where random ones teach nothing more.

    refine.py --data DIR --work DIR --steps 240 --lr 4e-4 --groups 32 --tokens 6-24 --masked-weight 0.3 \\
              --share 0.7

Sentences drawn at random have little to do with each other: their cosines say where a sentence lies, and nothing
of which of two like sentences is the closer one, which is what a similarity benchmark asks. A batch here is `--groups` sentences,
each with seven drawn from its forty nearest by the teacher's vectors. The loss is

    10 (squared error of cosines within groups) + 10 (the same across groups)
    + 0.3 (1 − cosine to the teacher, projected) + w (masked cross-entropy, every other step)

where w keeps the masked-LM head in place. The learning rate rises for 20 steps and falls to 0 at the end.
What is written is `--share` of the way from the weights that it started from to those that it reached: most of what the
vectors gain, and less of what the masked pieces lose.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import quality
from model import AlbertForPreTraining, Config
from train import group_losses, mask_tokens, type_ids_of

#: The first 2,000 sentences are held out, as in train.py.
HELD_OUT = 2000
ANCHORS, NEIGHBORS, GROUP = 5000, 40, 8
WINDOWS = 12


def load_sentences(work, shortest, longest):
    """Ids `(S, T)`, lengths `(S)` and the teacher's unit vectors `(S, 384)`."""
    ids = np.load(work / "sentences.u16.npy")[HELD_OUT:]
    vectors = torch.from_numpy(np.load(work / "sentences.f16.npy")[HELD_OUT:].astype(np.float32))
    lengths = (ids != 0).sum(1)
    kept = (lengths >= shortest) & (lengths <= longest)
    return ids[kept], lengths[kept], F.normalize(vectors[torch.from_numpy(kept)], dim=1)


def nearest(anchors, vectors):
    """The nearest sentences of each anchor by the teacher, itself among them: `(A, NEIGHBORS)`."""
    parts = [(vectors[part] @ vectors.T).topk(NEIGHBORS, dim=1).indices for part in np.array_split(anchors, 18)]
    return torch.cat(parts).numpy()


def length_range(text):
    shortest, longest = text.split("-")
    return int(shortest), int(longest)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with eval/")
    parser.add_argument("--work", type=Path, required=True, help="folder of the packed files and checkpoints")
    parser.add_argument("--from", dest="source", default="checkpoint.pt", help="file in --work to start from")
    parser.add_argument("--to", dest="target", default="refined.pt", help="file in --work to write")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--lr", type=float, default=4e-4, help="peak, AdamW")
    parser.add_argument("--groups", type=int, default=24)
    parser.add_argument("--tokens", type=length_range, default=(3, 512), help="lengths of the sentences, as 6-24")
    parser.add_argument("--masked-weight", type=float, default=0.05)
    parser.add_argument("--share", type=float, default=1.0, help="of the way to the last weights (default 1)")
    args = parser.parse_args()
    print(f"torch {torch.__version__}, numpy {np.__version__}, {vars(args)}", flush=True)
    torch.set_num_threads(args.threads)

    state = torch.load(args.work / args.source, weights_only=False)
    config = Config(**state["config"])
    model = AlbertForPreTraining(config)
    model.load_state_dict(state["model"])
    projection = torch.nn.Linear(config.hidden_size, 384)
    projection.load_state_dict(state["projection"])

    ids, lengths, teacher = load_sentences(args.work, *args.tokens)
    windows = np.load(args.work / "windows.u16.npy", mmap_mode="r")
    draw, generator = np.random.default_rng(3), torch.Generator().manual_seed(5)
    anchors = draw.choice(len(ids), min(ANCHORS, len(ids)), replace=False)
    with torch.no_grad():
        neighbors = nearest(anchors, teacher)

    # Positions stay the sinusoids that they are.
    trained = [p for name, p in model.named_parameters() if "position" not in name] + list(projection.parameters())
    optimizer = torch.optim.AdamW(trained, lr=args.lr, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    group = torch.arange(args.groups * GROUP) // GROUP

    started = time.time()
    for step in range(args.steps):
        optimizer.param_groups[0]["lr"] = args.lr * min(step / 20, 1.0) * (1 - step / args.steps)
        chosen = draw.choice(len(anchors), args.groups, replace=False)
        rows = np.concatenate([[anchors[i], *draw.choice(neighbors[i], GROUP - 1, replace=False)] for i in chosen])
        batch = torch.from_numpy(ids[rows].astype(np.int64))[:, : int(lengths[rows].max())]
        target = teacher[torch.from_numpy(rows)]

        with torch.autocast("cpu", torch.bfloat16):
            vectors = model.sentence_vectors(batch)
        vectors = vectors.float()
        near, far = group_losses(vectors, target, group)
        cosine = F.cosine_similarity(projection(vectors), target).mean()
        loss = 10 * near + 10 * far + 0.3 * (1 - cosine)
        if step % 2 == 0:
            window = torch.from_numpy(windows[draw.choice(len(windows), WINDOWS)].astype(np.int64))
            masked, positions = mask_tokens(window, generator)
            positions = positions.nonzero(as_tuple=True)
            with torch.autocast("cpu", torch.bfloat16):
                logits = model.masked_logits(model.hidden(masked, type_ids_of(window), positions))
            loss = loss + args.masked_weight * F.cross_entropy(logits.float(), window[positions])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 19:
            print(f"{step + 1} {time.time() - started:.0f}s  near {near:.4f}  far {far:.4f}  cosine {cosine:.4f}", flush=True)

    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            tensor.copy_(torch.lerp(state["model"][name], tensor, args.share))
    print({"steps": args.steps, "sts": quality.sts_spearman(model, args.data, args.work),
           **quality.masked_and_order(model, args.data, args.work, 300)})
    temporary = args.work / f"{args.target}.partial"
    torch.save({**state, "model": model.state_dict(), "projection": projection.state_dict()}, temporary)
    os.replace(temporary, args.work / args.target)


if __name__ == "__main__":
    main()
