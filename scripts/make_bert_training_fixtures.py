"""Writes small BERTs, batches and PyTorch's losses and gradients with dropout, for the training pass of albert-model.

    python scripts/make_bert_training_fixtures.py [--out crates/albert-model/tests/fixtures/training-bert]

Under transformers 4.46.3. The masks of the training pass are a function of a key and a counter (albert-kernels,
`training/dropout.rs`), so PyTorch gets the very same ones: each nn.Dropout of transformers' BERT is replaced by one that
computes them. Files have the form of make_training_fixtures.py, with the tensors' names in ALBERT's spelling.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import transformers
from make_training_fixtures import LENGTHS, Batch, loss_of, randomize, save, write_all

TINY = dict(
    vocab_size=37, hidden_size=12, num_attention_heads=3, intermediate_size=20, num_hidden_layers=3,
    max_position_embeddings=24, hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.3, classifier_dropout=0.25,
)
CASES = [
    ("pretraining-dropout", "PreTraining", "pretraining", {}),
    ("classification-dropout", "SequenceClassification", "classification", dict(num_labels=3)),
    ("token-labels-dropout", "TokenClassification", "token-labels", dict(num_labels=4)),
]
SEED, STEP = 1, 2  # of the test's draw

MODULES = {
    "attention.self.query": "attention.query", "attention.self.key": "attention.key",
    "attention.self.value": "attention.value", "attention.output.dense": "attention.dense",
    "attention.output.LayerNorm": "attention.LayerNorm", "intermediate.dense": "ffn", "output.dense": "ffn_output",
    "output.LayerNorm": "full_layer_layer_norm",
}

MASK_64 = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix_64(x):
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & MASK_64
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & MASK_64
    return x ^ x >> 31


def mix_32(x):
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    return x ^ x >> np.uint32(16)


def key(*parts):
    """The key of a seed, then of each part."""
    found = mix_64(SEED ^ GOLDEN)
    for part in parts:
        found = mix_64(found ^ mix_64((part + GOLDEN) & MASK_64))
    return found


def factors(the_key, probability, first, count):
    """0 where a value is dropped, else 1 / (1 - probability)."""
    counters = np.arange(first, first + count, dtype=np.uint32)
    hashed = mix_32(mix_32(counters ^ np.uint32(the_key & 0xFFFFFFFF)) + np.uint32(the_key >> 32))
    kept = float(np.float32(1) / np.float32(1 - np.float32(probability)))
    return np.where(hashed >> np.uint32(8) < round(float(np.float32(probability)) * (1 << 24)), 0.0, kept)


class KeyedDropout(torch.nn.Module):
    """Dropout of `kind`: 0 embeddings, 1 attention output, 2 probabilities, 3 classifier, 4 feed-forward output."""

    def __init__(self, probability, kind, index, lengths):
        super().__init__()
        self.probability, self.purpose, self.lengths, self.is_used = probability, kind << 32 | index, lengths, False

    def forward(self, x):
        self.is_used = True
        mask = np.ones(x.shape)
        for sequence, length in enumerate(self.lengths):
            of_sequence = key(STEP, sequence, self.purpose)
            if x.dim() == 4:  # (B, N, T, T)
                for head in range(x.shape[1]):
                    of_head = mix_64(of_sequence ^ mix_64((head + GOLDEN) & MASK_64))
                    for place in range(length):
                        mask[sequence, head, place, :length] = factors(of_head, self.probability, place * length, length)
            elif x.dim() == 3:  # (B, T, H)
                width = x.shape[2]
                for place in range(length):
                    mask[sequence, place] = factors(of_sequence, self.probability, place * width, width)
            else:  # (B, H)
                mask[sequence] = factors(of_sequence, self.probability, 0, x.shape[1])
        return x * torch.from_numpy(mask)


def replace_dropouts(model, lengths):
    """Every nn.Dropout of transformers' BERT; an error if one is left."""
    config, bert = model.config, model.bert
    of = lambda probability, kind, index=0: KeyedDropout(probability, kind, index, lengths)
    bert.embeddings.dropout = of(config.hidden_dropout_prob, 0)
    for index, layer in enumerate(bert.encoder.layer):
        layer.attention.self.dropout = of(config.attention_probs_dropout_prob, 2, index)
        layer.attention.output.dropout = of(config.hidden_dropout_prob, 1, index)
        layer.output.dropout = of(config.hidden_dropout_prob, 4, index)
    if hasattr(model, "dropout"):
        model.dropout = of(config.classifier_dropout, 3)
    assert not any(isinstance(module, torch.nn.Dropout) for module in model.modules())


def albert_name(name):
    if name.startswith("bert.encoder.layer."):
        _, _, _, layer, rest = name.split(".", 4)
        module, part = rest.rsplit(".", 1)
        return f"albert.encoder.albert_layer_groups.{layer}.albert_layers.0.{MODULES[module]}.{part}"
    for theirs, ours in {
        "bert.pooler.dense.": "albert.pooler.", "bert.": "albert.", "cls.predictions.transform.": "predictions.",
        "cls.predictions.": "predictions.", "cls.seq_relationship.": "sop_classifier.classifier.",
    }.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


class Order:
    """BERT's outputs under the name that make_training_fixtures.py reads."""

    def __init__(self, model):
        self.model, self.config = model, model.config

    def __call__(self, **arguments):
        out = self.model(**arguments)
        if "seq_relationship_logits" in out:
            out["sop_logits"] = out["seq_relationship_logits"]
        return out


def write(out, index, name, architecture, objective, fields):
    config = transformers.BertConfig(**TINY | fields, architectures=[f"BertFor{architecture}"], attn_implementation="eager")
    generator = torch.Generator().manual_seed(300 + index)
    model = getattr(transformers, config.architectures[0])(config).double().train()
    randomize(model, generator)
    batch = Batch(config, LENGTHS, generator)
    replace_dropouts(model, LENGTHS)
    torch.set_default_dtype(torch.float64)
    loss, targets = loss_of(Order(model), objective, {}, batch, generator)
    loss.backward()
    torch.set_default_dtype(torch.float32)
    unused = [key for key, module in model.named_modules() if isinstance(module, KeyedDropout) and not module.is_used]
    assert not unused, unused

    metadata = {"objective": objective, "options": "{}", "config": json.dumps(config.to_dict())}
    save(out / f"{name}.safetensors", batch, targets, loss, model, albert_name, metadata)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("crates/albert-model/tests/fixtures/training-bert"))
    write_all(parser.parse_args().out, CASES, write)


if __name__ == "__main__":
    main()
