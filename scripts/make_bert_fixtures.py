"""Writes small random BERTs, and transformers' outputs for them, that the tests of albert-model compare with.

Run it under transformers 4.46.3:

    python scripts/make_bert_fixtures.py --out crates/albert-model/tests/fixtures/bert

A folder holds config.json and model.safetensors as `save_pretrained` writes them, and expected.safetensors with
`input.*` and `output.*`. `pretraining` also has the same weights in PyTorch's format, with the names of 2018
(`pytorch_model_old_names.bin`: gamma and beta).
"""

import argparse
import platform
import shutil
from pathlib import Path

import safetensors
import safetensors.torch
import torch
import transformers

WRITTEN_BY = "4.46.3"

SIZES = dict(
    vocab_size=97, hidden_size=24, num_attention_heads=3, intermediate_size=37, num_hidden_layers=4,
    max_position_embeddings=24,
)

# folder: (class, its config)
MODELS = {
    "model": ("BertModel", SIZES),
    # Another epsilon and activation than the defaults, so that a reader that ignores them shows.
    "pretraining": ("BertForPreTraining", SIZES | dict(layer_norm_eps=1e-3, hidden_act="gelu_new")),
    "masked-lm": ("BertForMaskedLM", SIZES),
    "sequence": ("BertForSequenceClassification", SIZES | dict(
        id2label={0: "contradiction", 1: "entailment", 2: "neutral"}, classifier_dropout=0.3)),
    "token": ("BertForTokenClassification", SIZES | dict(id2label={0: "O", 1: "B-PER", 2: "I-PER"})),
    "qa": ("BertForQuestionAnswering", SIZES),
    "choice": ("BertForMultipleChoice", SIZES),
}


def randomize(model, seed):
    """Weights that make a wrong formula show: pre-activations of about unit size, norms that are not the identity."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "LayerNorm.weight" in name:
            value = 1 + 0.3 * noise
        elif parameter.dim() == 1:
            value = 0.2 * noise
        elif "embeddings." in name:
            value = 0.5 * noise
        else:
            value = 1.1 * noise / parameter.shape[1] ** 0.5
        if "output.dense.weight" in name:
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


@torch.no_grad()
def outputs_of(model, inputs):
    arguments = {"input_ids" if name == "ids" else name: tensor for name, tensor in inputs.items()}
    out = model(**arguments, output_hidden_states=True, output_attentions=True)
    named = {"last_hidden_state": "last_hidden_state", "pooler_output": "pooler_output", "logits": "logits",
             "prediction_logits": "logits", "seq_relationship_logits": "sop_logits", "start_logits": "start_logits",
             "end_logits": "end_logits"}
    outputs = {ours: out[theirs] for theirs, ours in named.items() if theirs in out}
    outputs |= {f"hidden_states.{i}": tensor for i, tensor in enumerate(out.hidden_states)}
    outputs |= {f"attentions.{i}": tensor for i, tensor in enumerate(out.attentions)}
    return {f"output.{name}": tensor.contiguous() for name, tensor in outputs.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("crates/albert-model/tests/fixtures/bert"))
    out = parser.parse_args().out
    torch.set_num_threads(1)
    assert transformers.__version__ == WRITTEN_BY, f"fixtures are written under transformers {WRITTEN_BY}"
    shutil.rmtree(out, ignore_errors=True)
    for seed, (folder, (class_name, config)) in enumerate(MODELS.items()):
        config = transformers.BertConfig(**config, attn_implementation="eager")
        model = getattr(transformers, class_name)(config).eval()
        randomize(model, seed)
        model.save_pretrained(out / folder)
        if folder == "choice":
            inputs = {name: tensor.view(2, 3, -1) for name, tensor in batch(config, [9, 6, 8, 9, 4, 7], 8).items()}
        else:
            inputs = batch(config, [11, 7, 9, 4], 7)
        outputs = outputs_of(model, inputs)
        tensors = {f"input.{name}": tensor for name, tensor in inputs.items()} | outputs
        safetensors.torch.save_file({name: tensor.clone() for name, tensor in tensors.items()},
                                    out / folder / "expected.safetensors")
        if folder == "pretraining":
            old = {}
            for name, tensor in model.state_dict().items():
                name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
                old[name] = tensor
            torch.save(old, out / folder / "pytorch_model_old_names.bin", _use_new_zipfile_serialization=False)
        print(f"{folder:12} {class_name:32} {len(outputs):3} outputs")
    modules = {"torch": torch, "transformers": transformers, "safetensors": safetensors}
    named = ", ".join(f"{name} {module.__version__}" for name, module in modules.items())
    versions = f"written by python {platform.python_version()}, {named}"
    print(versions)
    (out / "VERSIONS.txt").write_text(f"{versions}\n")


if __name__ == "__main__":
    main()
