"""A finished model as the start of more training, in the place of start.py.

    restart.py --work DIR --from ../../models/albert-mini-en/data     writes start.pt

The folder holds no training-only projection: it is fitted anew. `--new-order-head` forgets the pooler and the order
head, for a model whose training windows revealed their order by something other than their words.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file

from model import AlbertForPreTraining, Config
from start import fitted_projection

#: Sentences that the projection is fitted on, and of one batch.
SENTENCES, BATCH = 20_000, 250


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the packed files")
    parser.add_argument("--from", dest="source", type=Path, required=True, help="the model's folder")
    parser.add_argument("--new-order-head", action="store_true", help="start pooler and order head at random")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(f"torch {torch.__version__}, safetensors {safetensors.__version__}, numpy {np.__version__}")
    torch.manual_seed(args.seed)

    held = json.loads((args.source / "config.json").read_text(encoding="utf-8"))
    config = Config(**{name: held[name] for name in vars(Config())})
    model = AlbertForPreTraining(config)
    model.load_state_dict({name: tensor.float() for name, tensor in load_file(args.source / "model.safetensors").items()})
    if args.new_order_head:
        torch.nn.init.normal_(model.albert.pooler.weight, std=config.hidden_size**-0.5)
        torch.nn.init.normal_(model.sop_classifier.classifier.weight, std=0.02)
        torch.nn.init.zeros_(model.albert.pooler.bias)
        torch.nn.init.zeros_(model.sop_classifier.classifier.bias)

    # The first 2,000 sentences are held out, as in train.py.
    ids = torch.from_numpy(np.load(args.work / "sentences.u16.npy")[2000 : 2000 + SENTENCES].astype(np.int64))
    teacher = torch.from_numpy(np.load(args.work / "sentences.f16.npy")[2000 : 2000 + SENTENCES].astype(np.float32))
    # By length, for little padding.
    order = (ids != 0).sum(1).argsort()
    ids, teacher = ids[order], teacher[order]
    with torch.no_grad():
        vectors = torch.cat([model.sentence_vectors(part[:, : int((part != 0).sum(1).max())]) for part in ids.split(BATCH)])
    projection = fitted_projection(vectors, teacher)
    cosine = torch.nn.functional.cosine_similarity(projection(vectors), teacher).mean()
    torch.save({"config": vars(config), "model": model.state_dict(), "projection": projection.state_dict()}, args.work / "start.pt")
    print(f"start.pt: cosine to the teacher {cosine:.4f} on {len(ids)} sentences")


if __name__ == "__main__":
    main()
