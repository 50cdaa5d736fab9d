"""The layouts that PyTorch and safetensors write, and the numbers that all of them must give."""

import json
import shutil
from collections import OrderedDict
from pathlib import Path

import torch
import transformers
from make_fixtures import WRITTEN_BY, batch, randomize, save, versions
from torch import nn
from transformers import AlbertConfig, AlbertForPreTraining, AlbertModel

from layouts import foreign, hostile_pickles

GROUPED = dict(
    vocab_size=60, embedding_size=8, hidden_size=16, num_attention_heads=4, intermediate_size=24, num_hidden_layers=4,
    num_hidden_groups=2, inner_group_num=2, hidden_act="gelu_new", max_position_embeddings=32,
    classifier_dropout_prob=0.0,
)
# As wide in the embeddings as in the layers: Google's files then have no projection.
SQUARE = dict(
    vocab_size=30, embedding_size=16, hidden_size=16, num_attention_heads=2, intermediate_size=20, num_hidden_layers=3,
    hidden_act="gelu_new", max_position_embeddings=16, classifier_dropout_prob=0.0,
)
# PL-BERT's configuration says this and no more: the embedding size, 128, and gelu_new are transformers' defaults.
PHONEMES = dict(
    hidden_size=16, num_attention_heads=4, intermediate_size=24, max_position_embeddings=32, num_hidden_layers=3, dropout=0.1,
)
PHONEME_COUNT = 40
SHARD_SIZE = "20KB"
SMALLEST_NORMAL_F16 = 2.0**-14

PLBERT_YAML = f"""log_dir: "Checkpoint"
mixed_precision: "fp16"
data_folder: "phonemes.processed"
batch_size: 192
save_interval: 5000
num_process: 1 # number of GPUs
num_steps: 1000000

dataset_params:
    tokenizer: "words"
    token_separator: " " # between phonemes
    token_mask: 'M' # 'M', where a phoneme is hidden
    word_separator: 3039
    token_maps: "token_maps.pkl"
    languages: [en, "fr: #2"]
    splits:
        - train
        - test

    max_mel_length: 512

    word_mask_prob: 0.15
    phoneme_mask_prob: 0.1

model_params:
    vocab_size: {PHONEME_COUNT} # phonemes
    hidden_size: {PHONEMES["hidden_size"]}
    num_attention_heads: {PHONEMES["num_attention_heads"]}

    intermediate_size: {PHONEMES["intermediate_size"]}
    max_position_embeddings: {PHONEMES["max_position_embeddings"]}
    num_hidden_layers: {PHONEMES["num_hidden_layers"]}
    dropout: {PHONEMES["dropout"]}
"""


# --- models and their numbers ----------------------------------------------------------------------------------------

def make(model_class, config, seed):
    """A random model whose weights every floating-point type of a checkpoint holds exactly."""
    model = model_class(AlbertConfig(**config, attn_implementation="eager")).eval()
    randomize(model, seed)
    for name, parameter in model.named_parameters():
        rounded = parameter.data.bfloat16().float()
        parameter.data = torch.where(rounded.abs() < SMALLEST_NORMAL_F16, 0, rounded)
        assert torch.equal(parameter.data, parameter.data.half().float()), name
    return model


@torch.no_grad()
def expected(model, types=True):
    inputs = batch(model.config, [13, 6, 9], seed=3)
    if not types:
        inputs["token_type_ids"].zero_()
    encoder = getattr(model, "albert", model)
    arguments = {"input_ids" if name == "ids" else name: tensor for name, tensor in inputs.items()}
    encoded = encoder(**arguments)
    outputs = {"last_hidden_state": encoded.last_hidden_state, "pooler_output": encoded.pooler_output}
    if encoder is not model:
        heads = model(**arguments)
        outputs |= {"logits": heads.prediction_logits, "sop_logits": heads.sop_logits}
    return {f"input.{name}": tensor for name, tensor in inputs.items()} | {
        f"output.{name}": tensor for name, tensor in outputs.items()}


# --- one model, many files -------------------------------------------------------------------------------------------

def old_names(state):
    """Layer norms as TensorFlow called them, and the position ids that transformers 3.x to 4.30 saved."""
    def old(name):
        if "LayerNorm." in name or "layer_norm." in name:
            return name.replace(".weight", ".gamma").replace(".bias", ".beta")
        return name

    positions = {"albert.embeddings.position_ids": torch.arange(GROUPED["max_position_embeddings"])[None]}
    return OrderedDict(positions | {old(name): tensor for name, tensor in state.items()})


def noncontiguous(state):
    """Strides that are not the row-major ones, and storages with more than one tensor in them."""
    layer = "albert.encoder.albert_layer_groups.0.albert_layers.1"
    state = OrderedDict(state)
    transposed = f"{layer}.ffn.weight"
    state[transposed] = state[transposed].t().contiguous().t()
    names = [f"{layer}.attention.{part}.weight" for part in ("query", "key")]
    both = torch.cat([state[name] for name in names])
    state |= zip(names, both.chunk(2))
    assert not state[transposed].is_contiguous() and state[names[1]].storage_offset() > 0
    tied = state["predictions.decoder.weight"], state["albert.embeddings.word_embeddings.weight"]
    assert tied[0].data_ptr() == tied[1].data_ptr()
    return state


def parameters(state):
    """Values as parameters, and the module versions that state_dict() hangs on its dictionary."""
    result = OrderedDict((name, nn.Parameter(tensor)) for name, tensor in state.items())
    result._metadata = OrderedDict([("", {"version": 1}), ("albert", {"version": 1})])
    return result


def wrapped(state):
    """Returns a Lightning trainer's file, as Detoxify's releases are: the weights among settings and an optimizer."""
    arch = {"type": "AlbertForPreTraining", "args": {"num_classes": 2, "from_scratch": False, "freeze": None}}
    return {
        "epoch": 3, "global_step": 12500, "pytorch-lightning_version": "1.0.3",
        "config": {"name": "small", "n_gpu": 1, "batch_size": 10, "arch": arch, "lr": 3e-05, "betas": (0.9, 0.999),
                   "classes": ["toxic", "obscene"]},
        "callbacks": {}, "lr_schedulers": [],
        "optimizer_states": [optimizer()],
        "state_dict": OrderedDict((f"model.{name}", tensor) for name, tensor in state.items()),
    }


def optimizer():
    """The state of an Adam over two small tensors."""
    moments = {i: {"step": 12, "exp_avg": torch.full([2, 2], 0.5), "exp_avg_sq": torch.full([2, 2], 0.25)} for i in range(2)}
    group = {"lr": 1e-4, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01, "amsgrad": False, "params": [0, 1]}
    return {"state": moments, "param_groups": [group]}


def write_layouts(out, model):
    """Every layout of the one model; answers the files that hold all weights, and the prefix of their names."""
    state = model.state_dict()
    model.save_pretrained(out / "safetensors-single")
    model.save_pretrained(out / "safetensors-sharded", max_shard_size=SHARD_SIZE)
    model.save_pretrained(out / "bin-sharded", max_shard_size=SHARD_SIZE, safe_serialization=False)
    model.save_pretrained(out / "bin-zip", safe_serialization=False)
    config = json.loads((out / "safetensors-single/config.json").read_text())

    def write(folder, content, legacy=False, dtype="float32"):
        (out / folder).mkdir()
        write_json(out / folder / "config.json", config | {"torch_dtype": dtype})
        torch.save(content, out / folder / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)

    def cast(dtype):
        return OrderedDict((name, tensor.to(dtype)) for name, tensor in state.items())

    write("bin-legacy", state, legacy=True)
    write("bin-module", OrderedDict((f"module.{name}", tensor) for name, tensor in state.items()))
    write("bin-wrapped", wrapped(state))
    write("bin-old-names", old_names(state), legacy=True)
    write("bin-half", cast(torch.float16), dtype="float16")
    write("bin-bf16", cast(torch.bfloat16), dtype="bfloat16")
    write("bin-double", cast(torch.float64), dtype="float64")
    write("bin-noncontiguous", noncontiguous(state))
    write("bin-noncontiguous-legacy", noncontiguous(state), legacy=True)
    write("bin-ordereddict-parameter", parameters(state), legacy=True)
    write("bin-decoder-copies", OrderedDict((name, tensor.clone()) for name, tensor in state.items()))
    foreign.write(out, model, config, write_json)


def write_phonemes(out):
    """One encoder of phonemes as StyleTTS2 and as Kokoro ship it, among the rest of their speech models."""
    model = make(AlbertModel, PHONEMES | {"vocab_size": PHONEME_COUNT}, seed=12)
    assert (model.config.embedding_size, model.config.hidden_act) == (128, "gelu_new")
    hidden = PHONEMES["hidden_size"]
    linear = lambda rows: {"weight": torch.full([rows, hidden], 0.125), "bias": torch.zeros(rows)}

    def parallel(prefix, state):
        return OrderedDict((f"module.{prefix}{name}", tensor) for name, tensor in state.items())

    plbert, kokoro = out / "plbert", out / "kokoro"
    plbert.mkdir()
    (plbert / "config.yml").write_text(PLBERT_YAML)
    encoder = {"embeddings.position_ids": torch.arange(PHONEMES["max_position_embeddings"])[None]} | model.state_dict()
    net = parallel("encoder.", encoder) | parallel("mask_predictor.", linear(PHONEME_COUNT)) | parallel("word_predictor.", linear(5))
    torch.save({"net": net, "step": 1000000, "optimizer": optimizer()}, plbert / "step_1000000.t7")

    kokoro.mkdir()
    write_json(kokoro / "config.json", {
        "istftnet": {"upsample_kernel_sizes": [20, 12], "upsample_rates": [10, 6], "gen_istft_hop_size": 5},
        "dim_in": 64, "dropout": 0.2, "hidden_dim": 6, "max_dur": 50, "multispeaker": True, "n_layer": 3, "n_mels": 80,
        "n_token": PHONEME_COUNT, "style_dim": 128, "text_encoder_kernel_size": 5, "plbert": PHONEMES,
        "vocab": {";": 1, ":": 2, "ˈ": 3, "ɑ": 4},
    })
    torch.save({
        "bert": parallel("", model.state_dict()),
        "bert_encoder": parallel("", linear(6)),
        "predictor": parallel("text_encoder.lstms.0.", linear(4)),
        "text_encoder": parallel("embedding.", {"weight": torch.zeros(PHONEME_COUNT, 4)}),
    }, kokoro / "kokoro-v1_0.pth")
    for folder in plbert, kokoro:
        save(expected(model, types=False), folder / "expected.safetensors")
    return model


def write_square(out, work):
    """The numbers of a model without a projection: transformers always has one, here the identity."""
    model = make(AlbertForPreTraining, SQUARE, seed=13)
    projection = model.albert.encoder.embedding_hidden_mapping_in
    projection.weight.data.copy_(torch.eye(SQUARE["hidden_size"]))
    projection.bias.data.zero_()
    (out / "google-tf-no-projection").mkdir()
    save(expected(model), out / "google-tf-no-projection/expected.safetensors")
    save(model.state_dict(), work / "square.safetensors")
    write_json(work / "square.json", SQUARE)


# --- reading back ----------------------------------------------------------------------------------------------------

def check(out, model, phonemes):
    """Every file of weights, read by PyTorch, holds the weights of its model."""
    def same(folder, found, state, renamed=lambda name: name):
        found = {renamed(name): tensor for name, tensor in found.items()}
        missing = state.keys() - found.keys()
        assert not missing, (folder, missing)
        for name, tensor in state.items():
            assert torch.equal(found[name].float(), tensor), (folder, name)

    load = lambda path: torch.load(path, weights_only=True)
    state = model.state_dict()
    prefixes = {"bin-module": "module.", "bin-wrapped": "model."}
    # Those of `foreign` hold what PyTorch reads with weights_only=False alone.
    foreign_names = {"bin-objects", "bin-objects-legacy", "bin-whole-model", "bin-protocol-4"}
    folders = sorted(path.parent for path in out.glob("bin-*/pytorch_model.bin") if path.parent.name not in foreign_names)
    assert len(folders) == 12, folders
    for folder in folders:
        found = load(folder / "pytorch_model.bin")
        found = found.get("state_dict", found)
        prefix = prefixes.get(folder.name, "")
        same(folder.name, found, state, lambda name: name.removeprefix(prefix).replace(".gamma", ".weight").replace(".beta", ".bias"))
    shards = sorted((out / "bin-sharded").glob("*.bin"))
    assert len(shards) == 2 and len(list((out / "safetensors-sharded").glob("*.safetensors"))) == 2
    same("bin-sharded", {name: tensor for shard in shards for name, tensor in load(shard).items()}, state)
    for folder in "safetensors-single", "safetensors-sharded":
        again = AlbertForPreTraining.from_pretrained(out / folder).state_dict()
        # This version of transformers zeroes the tied bias of its own files, which leave the tie's other name out.
        lost = {"predictions.bias", "predictions.decoder.bias"}
        same(folder, again, {name: tensor for name, tensor in state.items() if name not in lost})
    state = phonemes.state_dict()
    same("plbert", load(out / "plbert/step_1000000.t7")["net"], state, lambda name: name.removeprefix("module.encoder."))
    same("kokoro", load(out / "kokoro/kokoro-v1_0.pth")["bert"], state, lambda name: name.removeprefix("module."))


def write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def write(out: Path, work: Path) -> str:
    assert transformers.__version__ == WRITTEN_BY, f"fixtures are written under transformers {WRITTEN_BY}"
    for folder in out, work:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    model = make(AlbertForPreTraining, GROUPED, seed=11)
    save(expected(model), out / "expected.safetensors")
    save(model.state_dict(), work / "grouped.safetensors")
    write_json(work / "grouped.json", GROUPED)
    write_layouts(out, model)
    phonemes = write_phonemes(out)
    write_square(out, work)
    (out / "preln").mkdir()
    write_json(out / "preln/config.json", GROUPED | {"model_type": "albert", "ln_type": "preln"})
    hostile_pickles.write(out / "hostile")
    check(out, model, phonemes)
    return versions()
