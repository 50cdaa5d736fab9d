"""Writes the small random models, and transformers' numbers for them, that the tests of albert-model are held to.

Run it under transformers 4.46.3 to write, then under version 5 as a second witness:

    python scripts/make_fixtures.py --out crates/albert-model/tests/fixtures
    python scripts/make_fixtures.py --out crates/albert-model/tests/fixtures --witness

A folder holds config.json and model.safetensors as `save_pretrained` writes them, and expected.safetensors with
`input.*` and `output.*`. The list of hidden states is the projected embeddings, then one per call of a layer
(1 + L x inner_group_num), and attentions are one per call: version 5's convention. Version 4 reports one per repetition
of a group, so both lists are taken from forward hooks, which read the same in both versions.

`token_type_ids` are always passed: version 5's tokenizers leave them out for ALBERT by default.
"""

import argparse
import platform
import shutil
from pathlib import Path

import safetensors
import safetensors.torch
import torch
import transformers
from torch import nn
from transformers.activations import ACT2FN

VERSION_4 = transformers.__version__.startswith("4.")
WRITTEN_BY = "4.46.3"

# The versions round differently (4 divides scores by sqrt(D), 5 multiplies by D^-0.5) and up to 21 layers pass it on:
# 1.5e-6 was seen, and 5.5e-6 in gradients of queries, which are small sums of large terms. Another computation would
# differ a thousand times more.
WITNESS_TOLERANCE = 5e-6
GRADIENT_TOLERANCE = 2e-5

GROUPED = dict(
    vocab_size=97, embedding_size=16, hidden_size=21, num_attention_heads=3, intermediate_size=37,
    num_hidden_layers=5, num_hidden_groups=2, inner_group_num=2, hidden_act="gelu_new", max_position_embeddings=24,
)
SENTENCE_LABELS = {0: "contradiction", 1: "entailment", 2: "neutral"}
TOKEN_LABELS = {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-LOC", 4: "I-LOC"}
RELU = dict(
    vocab_size=61, embedding_size=12, hidden_size=20, num_attention_heads=4, intermediate_size=34,
    num_hidden_layers=4, num_hidden_groups=4, hidden_act="relu", max_position_embeddings=16,
)

# folder: (class, its config)
MODELS = {
    "grouped-model": ("AlbertModel", GROUPED),
    # No dropout, so that gradients in training mode have a reference; the SOP head's is 0.1 by default.
    "grouped-pretraining": ("AlbertForPreTraining", GROUPED | dict(classifier_dropout_prob=0.0)),
    "grouped-masked-lm": ("AlbertForMaskedLM", GROUPED),
    "grouped-sequence": ("AlbertForSequenceClassification", GROUPED | dict(id2label=SENTENCE_LABELS)),
    "grouped-token": ("AlbertForTokenClassification", GROUPED | dict(id2label=TOKEN_LABELS)),
    "grouped-qa": ("AlbertForQuestionAnswering", GROUPED),
    "grouped-choice": ("AlbertForMultipleChoice", GROUPED),
    "square": ("AlbertForPreTraining", dict(
        vocab_size=61, embedding_size=24, hidden_size=24, num_attention_heads=3, intermediate_size=40,
        num_hidden_layers=3, hidden_act="gelu", max_position_embeddings=16)),
    "relu": ("AlbertForPreTraining", RELU),
    "deep": ("AlbertForPreTraining", dict(
        vocab_size=61, embedding_size=16, hidden_size=32, num_attention_heads=4, intermediate_size=64,
        num_hidden_layers=12, hidden_act="gelu_new", max_position_embeddings=16)),
    "uneven": ("AlbertModel", dict(
        vocab_size=61, embedding_size=12, hidden_size=18, num_attention_heads=2, intermediate_size=29,
        num_hidden_layers=7, num_hidden_groups=3, inner_group_num=3, hidden_act="silu", max_position_embeddings=16)),
    "positions": ("AlbertModel", dict(
        vocab_size=61, embedding_size=12, hidden_size=20, num_attention_heads=4, intermediate_size=34,
        num_hidden_layers=2, hidden_act="gelu_pytorch_tanh", max_position_embeddings=24, type_vocab_size=3)),
}

# Weights of `relu` again, in shards of this size.
SHARDED, SHARD_SIZE = ("sharded", "relu"), "24KB"

# Activations that only version 5 has, written out; the witness compares them with its own.
ONLY_IN_5 = {
    "gelu_python_tanh": lambda x: x * 0.5 * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x.pow(3)))),
    "hardswish": nn.functional.hardswish,
    "sqrtsoftplus": lambda x: nn.functional.softplus(x).sqrt(),
}


# --- inputs and weights ----------------------------------------------------------------------------------------------

def randomize(model, seed):
    """Weights that make a wrong formula show: pre-activations of about unit size, norms that are not the identity."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "LayerNorm.weight" in name or "layer_norm.weight" in name:
            value = 1 + 0.3 * noise
        elif parameter.dim() == 1:
            value = 0.2 * noise
        elif "embeddings." in name:
            value = 0.5 * noise
        else:
            value = 1.1 * noise / parameter.shape[1] ** 0.5
        if "attention.dense.weight" in name or "ffn_output.weight" in name:
            value *= 0.5  # at full size a deep stack makes all tokens alike, and attention no longer matters
        parameter.data.copy_(value)


def batch(config, lengths, seed):
    """Rows padded on the right to the longest; the first is a pair. Padding is id 0, which no token has."""
    generator = torch.Generator().manual_seed(seed)
    width = max(lengths)
    mask = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(4, config.vocab_size, (len(lengths), width), generator=generator) * mask
    types = torch.zeros_like(ids)
    types[0, width // 2:] = 1
    return {"ids": ids, "attention_mask": mask, "token_type_ids": types * mask}


def inputs_of(folder, config):
    """Batches of four rows, one of them alone without padding; two questions of three for multiple choice."""
    if folder == "grouped-choice":
        rows = batch(config, [9, 6, 8, 9, 4, 7], seed=8)
        return {name: tensor.view(2, 3, -1) for name, tensor in rows.items()}
    inputs = batch(config, [11, 7, 9, 4], seed=7)
    if folder == "positions":
        generator = torch.Generator().manual_seed(9)
        width = inputs["ids"].shape[1]
        order = [torch.randperm(config.max_position_embeddings, generator=generator)[:width] for _ in inputs["ids"]]
        inputs["position_ids"] = torch.stack(order)
        inputs["token_type_ids"][1] = 2
    return inputs


# --- transformers' numbers -------------------------------------------------------------------------------------------

def any_group_size(group, arguments):
    """Version 4 cuts `head_mask` to int(L / G) entries, too few for `inner_group_num` layers when that is larger."""
    hidden_states, attention_mask, _, *rest = arguments
    return (hidden_states, attention_mask, [None] * len(group.albert_layers), *rest)


@torch.no_grad()
def outputs_of(model, inputs):
    hidden_states, attentions, hooks = [], [], []
    encoder = getattr(model, "albert", model).encoder
    hooks.append(encoder.embedding_hidden_mapping_in.register_forward_hook(lambda _, __, out: hidden_states.append(out)))
    for group in encoder.albert_layer_groups:
        if VERSION_4:
            hooks.append(group.register_forward_pre_hook(any_group_size))
        for layer in group.albert_layers:
            hooks.append(layer.register_forward_hook(
                lambda _, __, out: hidden_states.append(out[0] if isinstance(out, tuple) else out)))
            hooks.append(layer.attention.register_forward_hook(lambda _, __, out: attentions.append(out[1])))
    arguments = {"input_ids" if name == "ids" else name: tensor for name, tensor in inputs.items()}
    out = model(**arguments, output_hidden_states=True, output_attentions=True)
    for hook in hooks:
        hook.remove()

    calls = model.config.num_hidden_layers * model.config.inner_group_num
    assert (len(hidden_states), len(attentions)) == (1 + calls, calls)
    reported = hidden_states[::model.config.inner_group_num] if VERSION_4 else hidden_states
    assert all(torch.equal(*pair) for pair in zip(reported, out.hidden_states, strict=True))
    assert all(torch.equal(*pair) for pair in zip(attentions, out.attentions, strict=True))

    named = {"last_hidden_state": "last_hidden_state", "pooler_output": "pooler_output", "logits": "logits",
             "prediction_logits": "logits", "sop_logits": "sop_logits", "start_logits": "start_logits",
             "end_logits": "end_logits"}
    outputs = {ours: out[theirs] for theirs, ours in named.items() if theirs in out}
    outputs |= {f"hidden_states.{i}": tensor for i, tensor in enumerate(hidden_states)}
    outputs |= {f"attentions.{i}": tensor for i, tensor in enumerate(attentions)}
    return {f"output.{name}": tensor.contiguous() for name, tensor in outputs.items()}


def training_of(model, inputs):
    """Loss of both pretraining tasks in training mode, and its gradient."""
    labels = torch.full_like(inputs["ids"], -100)
    for row, position, token in [(0, 1, 5), (0, 6, 33), (1, 2, 96), (1, 5, 4), (2, 0, 71), (2, 8, 12), (3, 3, 50)]:
        labels[row, position] = token
    order = torch.tensor([0, 1, 1, 0])
    model.train()
    model.zero_grad()
    out = model(input_ids=inputs["ids"], attention_mask=inputs["attention_mask"],
                token_type_ids=inputs["token_type_ids"], labels=labels, sentence_order_label=order)
    out.loss.backward()
    model.eval()
    reference = {f"grad.{name}": parameter.grad for name, parameter in model.named_parameters()}
    return reference | {"loss": out.loss.detach(), "labels.masked_lm": labels, "labels.sentence_order": order}


def activations():
    """Every activation of both versions but the parametric ones, and its derivative, over [-12, 12]."""
    tiny = torch.tensor([1e-3, 1e-6, 1e-12, 1e-30, 1e-40])
    corners = torch.tensor([0.0, -3.0, 3.0, 6.0, 10.0])  # where hardswish, relu6 and gelu_10 change their formula
    grid = torch.cat([torch.linspace(-12, 12, 190), tiny, -tiny, corners]).sort().values
    functions = {name: ACT2FN[name] for name in ACT2FN}
    for name, written_out in ONLY_IN_5.items():
        functions.setdefault(name, written_out)
    tensors, parametric = {"x": grid}, []
    for name, function in sorted(functions.items()):
        if isinstance(function, nn.Module) and any(True for _ in function.parameters()):
            parametric.append(name)
            continue
        x = grid.clone().requires_grad_()
        y = function(x)
        (gradient,) = torch.autograd.grad(y.sum(), x)
        tensors |= {f"act.{name}": y.detach(), f"grad.{name}": gradient}
    return tensors, parametric


# --- the two runs ----------------------------------------------------------------------------------------------------

def versions():
    modules = {"torch": torch, "transformers": transformers, "safetensors": safetensors}
    named = [f"{name} {module.__version__}" for name, module in modules.items()]
    return ", ".join([f"python {platform.python_version()}", *named])


def save(tensors, path):
    safetensors.torch.save_file({name: tensor.detach().clone() for name, tensor in tensors.items()}, path)


def write(out):
    assert transformers.__version__ == WRITTEN_BY, f"fixtures are written under transformers {WRITTEN_BY}"
    shutil.rmtree(out, ignore_errors=True)
    for seed, (folder, (class_name, config)) in enumerate(MODELS.items()):
        config = transformers.AlbertConfig(**config, attn_implementation="eager")
        model = getattr(transformers, class_name)(config).eval()
        randomize(model, seed)
        model.save_pretrained(out / folder)
        if folder == SHARDED[1]:
            model.save_pretrained(out / SHARDED[0], max_shard_size=SHARD_SIZE)
        inputs = inputs_of(folder, config)
        outputs = outputs_of(model, inputs)
        save({f"input.{name}": tensor for name, tensor in inputs.items()} | outputs, out / folder / "expected.safetensors")
        if folder == "grouped-pretraining":
            save(training_of(model, inputs), out / folder / "training.safetensors")
        spread = max(tensor.max().item() for name, tensor in outputs.items() if "attentions" in name)
        print(f"{folder:20} {class_name:32} {len(outputs):3} outputs, largest attention {spread:.2f}")
    tensors, parametric = activations()
    save(tensors, out / "activations.safetensors")
    print(f"activations: {len(tensors) // 2} (parametric, left out: {', '.join(parametric) or 'none in this version'})")
    (out / "VERSIONS.txt").write_text(f"written by {versions()}\n")


def difference(expected, found):
    """Largest difference, relative to the largest magnitude of what is expected, and the tensor it is in."""
    assert expected.keys() == found.keys(), expected.keys() ^ found.keys()
    worst = (0.0, "")
    for name, tensor in expected.items():
        if name.endswith("attention.key.bias"):
            continue  # its gradient is zero up to rounding: softmax ignores a shift that all keys share
        assert found[name].isfinite().all(), name
        scale = tensor.abs().max().clamp(min=1e-30)
        worst = max(worst, (((tensor - found[name]).abs().max() / scale).item(), name))
    return worst


def witness(out):
    # 4.46.3 loses `predictions.bias` of its own files: the tied `decoder.bias`, absent and so zero, overwrites it.
    assert not VERSION_4, "the witness runs under transformers 5"
    worst = {}
    for folder, whole in [*((folder, folder) for folder in MODELS), SHARDED]:
        model_class = getattr(transformers, MODELS[whole][0])
        model = model_class.from_pretrained(out / folder, attn_implementation="eager").eval()
        stored = safetensors.torch.load_file(out / whole / "expected.safetensors")
        inputs = {name.removeprefix("input."): tensor for name, tensor in stored.items() if name.startswith("input.")}
        outputs = {name: tensor for name, tensor in stored.items() if name.startswith("output.")}
        worst[folder] = difference(outputs, outputs_of(model, inputs))
        training = out / folder / "training.safetensors"
        if training.exists():
            worst[f"{folder} gradients"] = difference(safetensors.torch.load_file(training), training_of(model, inputs))
    found, parametric = activations()
    worst["activations"] = difference(safetensors.torch.load_file(out / "activations.safetensors"), found)

    lines = [f"witnessed by {versions()}", "largest difference, relative to the tensor's largest magnitude:"]
    lines += [f"  {name:30} {largest:.1e}  {tensor}".rstrip() for name, (largest, tensor) in worst.items()]
    lines += [f"parametric activations, left out: {', '.join(parametric)}"]
    print("\n".join(lines))
    written = (out / "VERSIONS.txt").read_text().splitlines()[0]
    (out / "VERSIONS.txt").write_text("\n".join([written, *lines]) + "\n")
    allowed = {name: GRADIENT_TOLERANCE if "gradients" in name else WITNESS_TOLERANCE for name in worst}
    failed = [name for name, (largest, _) in worst.items() if not largest <= allowed[name]]
    assert not failed, f"too far from what is written: {', '.join(failed)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("crates/albert-model/tests/fixtures"), help="folder to write")
    parser.add_argument("--witness", action="store_true", help="recompute what is written there and compare")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(versions())
    witness(options.out) if options.witness else write(options.out)


if __name__ == "__main__":
    main()
