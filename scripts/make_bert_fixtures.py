"""Writes small random BERTs, and transformers' outputs for them, that the tests of albert-model compare with.

    python scripts/make_bert_fixtures.py                      # writes, under transformers 4.46.3
    python scripts/make_bert_fixtures.py --stage tensorflow   # adds Google's archives, under TensorFlow 2
    python scripts/make_bert_fixtures.py --witness            # computes all of it again, under transformers 5

A folder holds config.json and model.safetensors as `save_pretrained` writes them, and expected.safetensors with
`input.*` and `output.*`. `pretraining` also has the same weights in PyTorch's format, with the names of 2018
(`pytorch_model_old_names.bin`: gamma and beta).

The TensorFlow stage writes the weights of `google` as Google published its BERTs (`google-tf`: bert_config.json and
bert_model.ckpt, in two data files in `google-tf-two-shards`) and as its fine-tuning scripts save them
(`google-tf-classifier`, `google-tf-squad`). If transformers 4 is installed too, its own converter must read the
archive to the same outputs.
"""

import argparse
import json
import platform
import shutil
from pathlib import Path

import numpy as np

import safetensors
import safetensors.numpy
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
    # Two logits, whatever the number of labels.
    "next-sentence": ("BertForNextSentencePrediction", SIZES | dict(id2label={0: "A", 1: "B", 2: "C"})),
    "google": ("BertForPreTraining", SIZES | dict(num_hidden_layers=2)),
}

# f32 sums in another order: transformers 5 computes attention differently.
WITNESS_TOLERANCE = 1e-5


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


def write(out):
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


def witness(out):
    """Computes the outputs of the files again, and ends with an error unless they agree."""
    print(f"python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}")
    assert transformers.__version__ != WRITTEN_BY, "a witness is another version of transformers"
    largest = 0.0
    for folder, (class_name, _) in MODELS.items():
        model = getattr(transformers, class_name).from_pretrained(out / folder, attn_implementation="eager").eval()
        expected = safetensors.torch.load_file(out / folder / "expected.safetensors")
        inputs = {name.removeprefix("input."): tensor for name, tensor in expected.items() if name.startswith("input.")}
        found = outputs_of(model, inputs)
        assert found.keys() == {name for name in expected if name.startswith("output.")}, folder
        worst = max(((found[name] - expected[name]).abs().max() / expected[name].abs().max()).item() for name in found)
        print(f"{folder:14} {len(found):3} outputs, largest difference {worst:.1e} of a tensor's largest value")
        largest = max(largest, worst)
    assert largest <= WITNESS_TOLERANCE, f"expected at most {WITNESS_TOLERANCE}"
    line = f"witness: transformers {transformers.__version__}, torch {torch.__version__}: largest difference {largest:.1e}"
    path = out / "VERSIONS.txt"
    kept = [line for line in path.read_text().splitlines() if not line.startswith("witness:")]
    path.write_text("\n".join([*kept, line]) + "\n")


# --- Google's archives -----------------------------------------------------------------------------------------------

def google_name(name):
    """The name of a tensor of transformers' BertForPreTraining in Google's archive, and if it is stored transposed."""
    fixed = {
        "cls.predictions.bias": "cls/predictions/output_bias",
        "cls.seq_relationship.weight": "cls/seq_relationship/output_weights",
        "cls.seq_relationship.bias": "cls/seq_relationship/output_bias",
    }
    if name in fixed:
        return fixed[name], False
    if name.endswith("_embeddings.weight"):
        return name.removesuffix(".weight").replace(".", "/"), False
    path = name.replace("encoder.layer.", "encoder/layer_").replace(".", "/")
    if "LayerNorm" in name:
        return path.replace("/weight", "/gamma").replace("/bias", "/beta"), False
    return path.replace("/weight", "/kernel"), name.endswith(".weight")


def google_config(config):
    """bert_config.json, with the fields of Google's; it has no layer_norm_eps."""
    fields = ("attention_probs_dropout_prob", "hidden_act", "hidden_dropout_prob", "hidden_size", "initializer_range",
              "intermediate_size", "max_position_embeddings", "num_attention_heads", "num_hidden_layers",
              "type_vocab_size", "vocab_size")
    return {field: config[field] for field in fields}


def tensorflow_stage(out):
    import tensorflow as tf
    from layouts.tensorflow_bundles import save

    config = json.loads((out / "google/config.json").read_text())
    state = safetensors.numpy.load_file(out / "google/model.safetensors")
    # save_pretrained leaves out what is tied: the decoder, which Google's network ties too.
    variables = {}
    for name, value in state.items():
        if name.startswith("cls.predictions.decoder."):
            continue
        name, is_transposed = google_name(name)
        variables[name] = np.ascontiguousarray(value.T if is_transposed else value)
    slots = {f"bert/pooler/dense/kernel/{slot}": variables["bert/pooler/dense/kernel"] * 0 + 0.5
             for slot in ("adam_m", "adam_v")}
    encoder = {name: value for name, value in variables.items() if name.startswith("bert/")}
    hidden = config["hidden_size"]
    draw = np.random.default_rng(5)
    real = lambda *shape: draw.normal(size=shape).astype(np.float32)
    archives = {
        "google-tf": (variables, "bert_model.ckpt", 1),
        "google-tf-two-shards": (variables, "bert_model.ckpt", 2),
        # run_classifier.py and run_squad.py
        "google-tf-classifier": (encoder | slots | {
            "output_weights": real(3, hidden), "output_bias": real(3), "global_step": np.array(9, np.int64)},
            "model.ckpt-9", 1),
        "google-tf-squad": (encoder | {"cls/squad/output_weights": real(2, hidden), "cls/squad/output_bias": real(2)},
                            "model.ckpt-9", 1),
    }
    for folder, (content, name, shards) in archives.items():
        shutil.rmtree(out / folder, ignore_errors=True)
        (out / folder).mkdir()
        save(content, out / folder / name, shards)
        (out / folder / "bert_config.json").write_text(json.dumps(google_config(config), indent=2) + "\n")
        print(f"{folder:22} {len(content):3} variables")
    line = f"tensorflow: tensorflow {tf.__version__}, numpy {np.__version__}"
    if transformers.__version__ == WRITTEN_BY:
        # Their reader of Google's names, which these files are written for.
        model = transformers.BertForPreTraining(transformers.BertConfig.from_json_file(out / "google-tf/bert_config.json"))
        transformers.load_tf_weights_in_bert(model, model.config, str(out / "google-tf/bert_model.ckpt"))
        model.config._attn_implementation = "eager"
        expected = safetensors.torch.load_file(out / "google/expected.safetensors")
        inputs = {name.removeprefix("input."): tensor for name, tensor in expected.items() if name.startswith("input.")}
        logits = outputs_of(transformers.BertForPreTraining.from_pretrained(
            None, config=model.config, state_dict=model.state_dict(), attn_implementation="eager").eval(), inputs)
        worst = max((logits[name] - expected[name]).abs().max().item() for name in ("output.logits", "output.sop_logits"))
        line += f"; transformers {transformers.__version__} reads the archive to outputs {worst:.1e} apart"
        assert worst == 0.0, worst
    print(line)
    path = out / "VERSIONS.txt"
    kept = [line for line in path.read_text().splitlines() if not line.startswith("tensorflow:")]
    path.write_text("\n".join([*kept, line]) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("crates/albert-model/tests/fixtures/bert"))
    parser.add_argument("--stage", choices=["torch", "tensorflow"], default="torch")
    parser.add_argument("--witness", action="store_true", help="compare, and write nothing but a line of VERSIONS.txt")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.witness:
        witness(arguments.out)
    elif arguments.stage == "tensorflow":
        tensorflow_stage(arguments.out)
    else:
        write(arguments.out)


if __name__ == "__main__":
    main()
