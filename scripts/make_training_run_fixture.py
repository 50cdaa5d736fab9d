"""Writes 50 steps of transformers' ALBERT under torch's AdamW, which a whole run of albert-train is held to.

    python scripts/make_training_run_fixture.py --out crates/albert-train/tests/fixtures

Under transformers 4.46.3. `run.safetensors` holds the start (`start.*`), the batches without padding (`ids`, `types`, `lengths`,
`rows`, `tokens`, `order`, `masks`: lengths and masks count the tokens and the targets of each sequence and step) and, for each
step, `loss`, `learning_rate` and `grad_norm`, and the weights after the last step (`end.*`). The step is that of transformers'
Trainer: the model's own loss over padded batches, clipping to norm 1, AdamW without decay of biases and norms, a linear
schedule with warm-up. PyTorch computes in f32, as the Trainer does.
"""

import argparse
import platform
from pathlib import Path

import safetensors.torch
import torch
import transformers
from transformers import AlbertConfig, AlbertForPreTraining, get_linear_schedule_with_warmup

WRITTEN_BY = "4.46.3"
STEPS, WARMUP, SEQUENCES, MASK, PAD = 50, 5, 6, 4, 0

CONFIG = dict(
    vocab_size=41, embedding_size=8, hidden_size=16, num_attention_heads=2, intermediate_size=24, num_hidden_layers=3,
    max_position_embeddings=16, classifier_dropout_prob=0.0, initializer_range=0.2,
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    if transformers.__version__ != WRITTEN_BY:
        raise SystemExit(f"expected transformers {WRITTEN_BY}, found {transformers.__version__}")
    torch.manual_seed(3)
    config = AlbertConfig(**CONFIG)
    model = AlbertForPreTraining(config).train()
    start = {name: value.detach().clone() for name, value in model.named_parameters()}
    no_decay = ("bias", "LayerNorm.weight", "layer_norm.weight")
    groups = [
        dict(params=[p for n, p in model.named_parameters() if not n.endswith(no_decay)], weight_decay=0.01),
        dict(params=[p for n, p in model.named_parameters() if n.endswith(no_decay)], weight_decay=0.0),
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.999), eps=1e-8)
    schedule = get_linear_schedule_with_warmup(optimizer, WARMUP, STEPS)
    data = {name: [] for name in ("ids", "types", "lengths", "rows", "tokens", "order", "masks")}
    curve = {name: [] for name in ("loss", "learning_rate", "grad_norm")}
    for _ in range(STEPS):
        lengths = torch.randint(4, config.max_position_embeddings + 1, (SEQUENCES,))
        width = int(lengths.max())
        ids = torch.randint(5, config.vocab_size, (SEQUENCES, width))
        # A rule to learn: every token follows from the one before.
        for column in range(1, width):
            ids[:, column] = 5 + (ids[:, column - 1] * 3 + column % 2) % (config.vocab_size - 5)
        attention = (torch.arange(width) < lengths[:, None]).long()
        types = (torch.arange(width) >= (lengths // 2)[:, None]).long() * attention
        is_masked = (torch.rand(SEQUENCES, width) < 0.25) & (attention == 1)
        is_masked[:, 0] = True
        labels = torch.where(is_masked, ids, -100)
        inputs = torch.where(is_masked, MASK, ids) * attention + PAD * (1 - attention)
        order = torch.randint(0, 2, (SEQUENCES,))
        row = 0
        for sequence, length in enumerate(lengths.tolist()):
            data["ids"] += inputs[sequence, :length].tolist()
            data["types"] += types[sequence, :length].tolist()
            data["lengths"].append(length)
            places = is_masked[sequence].nonzero().squeeze(1)
            data["rows"] += (row + places).tolist()
            data["tokens"] += ids[sequence, places].tolist()
            data["masks"].append(len(places))
            row += length
        data["order"] += order.tolist()

        loss = model(
            input_ids=inputs, attention_mask=attention, token_type_ids=types, labels=labels, sentence_order_label=order
        ).loss
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        curve["loss"].append(loss.item())
        curve["grad_norm"].append(norm.item())
        curve["learning_rate"].append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    tensors = {f"start.{name}": value for name, value in start.items()}
    tensors |= {f"end.{name}": value.detach() for name, value in model.named_parameters()}
    tensors |= {name: torch.tensor(values, dtype=torch.uint32) for name, values in data.items()}
    tensors |= {name: torch.tensor(values, dtype=torch.float64) for name, values in curve.items()}
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, Python {platform.python_version()}"
    metadata = dict(config=config.to_json_string(), versions=versions)
    safetensors.torch.save_file({name: t.contiguous() for name, t in tensors.items()}, out / "run.safetensors", metadata)
    print(versions)
    for step in (0, 9, 24, 49):
        print(f"step {step + 1}: loss {curve['loss'][step]:.6f}, learning rate {curve['learning_rate'][step]:.3e}, norm {curve['grad_norm'][step]:.6f}")


main()
