"""Writes small models, batches and PyTorch's losses and gradients, which the training pass of albert-model is held to.

    python scripts/make_training_fixtures.py --out crates/albert-model/tests/fixtures/training

Under transformers 4.46.3. A file holds `weight.*` and `grad.*` under transformers' names, the batch without padding
(`ids`, `types`, `lengths`), `target.*`, and `loss`; its metadata names the objective and holds the configuration.
PyTorch computes in f64, so that its own rounding is no part of a test's tolerance.
"""

import argparse
import json
import platform
import shutil
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
import transformers

WRITTEN_BY = "4.46.3"

TINY = dict(
    vocab_size=37, embedding_size=8, hidden_size=12, num_attention_heads=3, intermediate_size=20, num_hidden_layers=4,
    max_position_embeddings=24, classifier_dropout_prob=0.0,
)
LENGTHS = [9, 1, 14, 5, 20, 2]


def case(name, architecture, objective, lengths=LENGTHS, options=None, **config):
    return name, architecture, objective, lengths, options or {}, TINY | config


# The layers of an ALBERT in all their forms, by its own objectives.
CASES = [
    case("pretraining-one-group", "PreTraining", "pretraining"),
    case("pretraining-two-groups", "PreTraining", "pretraining", num_hidden_groups=2, hidden_act="gelu"),
    case("pretraining-unshared", "PreTraining", "pretraining", num_hidden_groups=4, hidden_act="relu"),
    case("pretraining-inner", "PreTraining", "pretraining", num_hidden_groups=2, inner_group_num=2, hidden_act="silu"),
    case("pretraining-wide", "PreTraining", "pretraining", embedding_size=12, hidden_act="tanh", layer_norm_eps=1e-5),
    case("masked-lm-long", "MaskedLM", "masked-lm", lengths=[512, 1, 130, 70], max_position_embeddings=512, num_hidden_layers=2),
    case("masked-lm-untied", "MaskedLM", "masked-lm", tie_word_embeddings=False, hidden_act="quick_gelu"),
    case("classification", "SequenceClassification", "classification", num_labels=3),
    case("classification-weighted", "SequenceClassification", "classification", num_labels=3,
         options=dict(class_weights=[0.5, 2.0, 1.0], label_smoothing=0.1)),
    case("multi-label", "SequenceClassification", "multi-label", num_labels=3, hidden_act="mish"),
    case("regression", "SequenceClassification", "regression", num_labels=2),
    case("token-labels", "TokenClassification", "token-labels", num_labels=4),
    case("spans", "QuestionAnswering", "spans"),
    case("choice", "MultipleChoice", "choice"),
    case("cosine", "Model", "cosine"),
    case("in-batch-negatives", "Model", "in-batch-negatives", options=dict(scale=20.0)),
    case("triplets", "Model", "triplets", options=dict(scale=20.0)),
    case("cosent", "Model", "cosent", options=dict(scale=20.0)),
    case("vectors", "Model", "vectors"),
    case("vectors-cosine", "Model", "vectors-cosine"),
    case("similarities", "Model", "similarities"),
    case("hidden-states", "Model", "hidden-states", num_hidden_groups=2, inner_group_num=2),
    case("masked-logits", "MaskedLM", "masked-logits"),
]


def randomize(model, generator):
    """Weights that make a wrong formula show: pre-activations of about unit size, norms that are not the identity."""
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float32)
        if "LayerNorm.weight" in name or "layer_norm.weight" in name:
            value = 1 + 0.3 * noise
        elif parameter.dim() == 1:
            value = 0.2 * noise
        elif "embeddings." in name:
            value = 0.5 * noise
        else:
            value = noise / parameter.shape[1] ** 0.5
        parameter.data.copy_(value)


def any_group_size(group, arguments):
    """transformers 4 cuts `head_mask` to int(L / G) entries, too few if `inner_group_num` is larger."""
    hidden_states, attention_mask, _, *rest = arguments
    return (hidden_states, attention_mask, [None] * len(group.albert_layers), *rest)


class Batch:
    def __init__(self, config, lengths, generator):
        self.lengths, width = lengths, max(lengths)
        self.mask = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
        draw = lambda least, most: torch.randint(least, most, (len(lengths), width), generator=generator)
        # 0 is padding, whose embedding torch.nn.Embedding does not train.
        self.ids = draw(1, config.vocab_size) * self.mask
        self.types = draw(0, config.type_vocab_size) * self.mask

    def rows(self, padded):
        """(B, T, …) → (ΣT, …)"""
        return padded.flatten(0, 1)[self.mask.flatten().bool()]

    def arguments(self):
        return dict(input_ids=self.ids, attention_mask=self.mask, token_type_ids=self.types)


def loss_of(model, objective, options, batch, generator):
    """The loss, and its targets."""
    config, count = model.config, len(batch.lengths)
    draw = lambda most, *shape: torch.randint(0, most, shape, generator=generator)
    real = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float32)
    weights = options.get("class_weights")
    weights = torch.tensor(weights, dtype=torch.float64) if weights else None
    smoothing = options.get("label_smoothing", 0.0)
    if objective in ("pretraining", "masked-lm"):
        total = sum(batch.lengths)
        rows = torch.randperm(total, generator=generator)[: max(3, total // 5)].sort().values
        tokens = draw(config.vocab_size, len(rows))
        out = model(**batch.arguments())
        logits = out.prediction_logits if objective == "pretraining" else out.logits
        loss = F.cross_entropy(batch.rows(logits)[rows], tokens)
        targets = {"rows": rows, "tokens": tokens}
        if objective == "pretraining":
            targets["order"] = draw(2, count)
            loss = loss + F.cross_entropy(out.sop_logits, targets["order"])
        return loss, targets
    if objective == "masked-logits":
        rows = torch.randperm(sum(batch.lengths), generator=generator)[:10].sort().values
        teacher = real(len(rows), config.vocab_size) * 2
        logits = batch.rows(model(**batch.arguments()).logits)[rows].log_softmax(-1)
        loss = F.kl_div(logits, teacher.double().log_softmax(-1), reduction="batchmean", log_target=True)
        return loss, {"rows": rows, "logits": teacher}
    if objective == "classification":
        labels = draw(config.num_labels, count)
        logits = model(**batch.arguments()).logits
        return F.cross_entropy(logits, labels, weight=weights, label_smoothing=smoothing), {"labels": labels}
    if objective == "multi-label":
        labels = draw(2, count, config.num_labels).float()
        logits = model(**batch.arguments()).logits
        return F.binary_cross_entropy_with_logits(logits, labels.double()), {"values": labels}
    if objective == "regression":
        values = real(count, config.num_labels)
        return F.mse_loss(model(**batch.arguments()).logits, values.double()), {"values": values}
    if objective == "token-labels":
        rows = torch.randperm(sum(batch.lengths), generator=generator)[:20].sort().values
        labels = draw(config.num_labels, len(rows))
        logits = batch.rows(model(**batch.arguments()).logits)
        return F.cross_entropy(logits[rows], labels), {"rows": rows, "labels": labels}
    if objective == "spans":
        ends = torch.stack([draw(length, 2) for length in batch.lengths])
        out = model(**batch.arguments())
        padding = (1 - batch.mask) * -1e30
        start, end = out.start_logits + padding, out.end_logits + padding
        return (F.cross_entropy(start, ends[:, 0]) + F.cross_entropy(end, ends[:, 1])) / 2, {"ends": ends}
    if objective == "choice":
        labels = draw(3, count // 3)
        arguments = {name: tensor.view(count // 3, 3, -1) for name, tensor in batch.arguments().items()}
        return F.cross_entropy(model(**arguments).logits, labels), {"labels": labels}
    if objective == "hidden-states":
        states, hooks = [], []
        for group in model.encoder.albert_layer_groups:
            hooks.append(group.register_forward_hook(lambda _, __, out: states.append(out[0])))
        model(**batch.arguments())
        for hook in hooks:
            hook.remove()
        loss, targets = 0, {}
        for repetition in (1, 3, 4):
            target = real(sum(batch.lengths), config.hidden_size)
            targets[f"states.{repetition}"] = target
            loss = loss + F.mse_loss(batch.rows(states[repetition - 1]), target.double())
        return loss, targets

    # Over the vectors of the whole batch: the formulas of sentence-transformers 5.
    states = model(**batch.arguments()).last_hidden_state
    vectors = (states * batch.mask[..., None]).sum(1) / batch.mask.sum(1, keepdim=True)
    cosines = F.cosine_similarity(vectors[:, None], vectors[None], dim=-1)
    pairs = cosines[torch.arange(0, count, 2), torch.arange(1, count, 2)]
    if objective == "cosine":
        scores = real(count // 2).sigmoid()
        return F.mse_loss(pairs, scores.double()), {"scores": scores}
    if objective == "in-batch-negatives":
        scores = cosines[0::2, 1::2] * options["scale"]
        return F.cross_entropy(scores, torch.arange(count // 2)), {}
    if objective == "triplets":
        scores = torch.cat([cosines[0::3, 1::3], cosines[0::3, 2::3]], dim=1) * options["scale"]
        return F.cross_entropy(scores, torch.arange(count // 3)), {}
    if objective == "cosent":
        scores = real(count // 2).sigmoid()
        scaled = pairs * options["scale"]
        differences = (scaled[:, None] - scaled[None])[scores[:, None] < scores[None]]
        return torch.cat([torch.zeros(1), differences]).logsumexp(0), {"scores": scores}
    if objective == "vectors":
        target = real(count, config.hidden_size)
        return F.mse_loss(vectors, target.double()), {"vectors": target}
    if objective == "vectors-cosine":
        target = real(count, config.hidden_size)
        return (1 - F.cosine_similarity(vectors, target.double())).mean(), {"vectors": target}
    if objective == "similarities":
        teacher = real(count, count).tanh()
        return F.mse_loss(cosines, teacher.double()), {"teacher": teacher}
    raise ValueError(objective)


def write(out, index, name, architecture, objective, lengths, options, fields):
    config = transformers.AlbertConfig(**fields, architectures=[f"Albert{architecture}"
        if architecture in ("Model",) else f"AlbertFor{architecture}"])
    config._attn_implementation = "eager"
    generator = torch.Generator().manual_seed(100 + index)
    torch.manual_seed(0)
    model = getattr(transformers, config.architectures[0])(config).double().train()
    randomize(model, generator)
    for group in getattr(model, "albert", model).encoder.albert_layer_groups:
        group.register_forward_pre_hook(any_group_size)
    batch = Batch(config, lengths, generator)
    torch.set_default_dtype(torch.float64)
    loss, targets = loss_of(model, objective, options, batch, generator)
    loss.backward()
    torch.set_default_dtype(torch.float32)

    prefix = "albert." if architecture == "Model" else ""
    metadata = {"objective": objective, "options": json.dumps(options), "config": config.to_json_string(use_diff=False)}
    save(out / f"{name}.safetensors", batch, targets, loss, model, lambda key: prefix + key, metadata)


def save(path, batch, targets, loss, model, renamed, metadata):
    """Writes a batch with its targets, the loss, and every weight with its gradient, under the names of `renamed`."""
    tensors = {"ids": batch.rows(batch.ids), "types": batch.rows(batch.types), "lengths": torch.tensor(batch.lengths)}
    tensors |= {f"target.{key}": value for key, value in targets.items()}
    tensors = {key: value.to(torch.uint32 if not value.is_floating_point() else torch.float32) for key, value in tensors.items()}
    tensors["loss"] = loss.detach()
    for key, parameter in model.named_parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        tensors[f"weight.{renamed(key)}"] = parameter.detach().float().contiguous()
        tensors[f"grad.{renamed(key)}"] = gradient.float().contiguous()
    safetensors.torch.save_file(tensors, path, metadata)
    print(f"{path.stem:24} loss {loss.item():.6f}")


def write_all(out, cases, write):
    """Empties the folder, calls `write(out, index, *case)` for every case, and writes the versions."""
    assert transformers.__version__ == WRITTEN_BY, f"expected transformers {WRITTEN_BY}, found {transformers.__version__}"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for index, fields in enumerate(cases):
        write(out, index, *fields)
    versions = f"Python {platform.python_version()}\ntorch {torch.__version__}\ntransformers {transformers.__version__}\n"
    (out / "VERSIONS.txt").write_text(versions)
    print(versions, end="")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    write_all(parser.parse_args().out, CASES, write)


if __name__ == "__main__":
    main()
