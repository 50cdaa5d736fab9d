"""Files as trainers and other libraries leave them: with objects next to the tensors, under roots of their own, with an
adapter that is not merged, and under the name of the other format."""

import argparse
from collections import Counter, OrderedDict, defaultdict

import numpy
import torch
from safetensors.torch import save_file
from torch import nn

# The update is a sum of few powers of two, so that W - s·B·A and the sum again are exact in f32.
RANK, ALPHA = 2, 4
ADAPTED = "albert.encoder.albert_layer_groups.0.albert_layers.0.attention.query"
EMBEDDING = "albert.embeddings.position_embeddings"


class Callback:
    """A stand-in for a trainer's callback, whose class is the key of its state."""


def with_objects(state):
    """Returns the weights with objects that trainers save among them: not all are tensors of a model."""
    weights = defaultdict(None, state)
    weights["extra.complex"] = torch.zeros(2, dtype=torch.complex64)
    weights["extra.quantized"] = torch.quantize_per_tensor(torch.ones(2), 0.5, 0, torch.qint8)
    weights["extra.object"] = argparse.Namespace(seed=1)
    marked = nn.Parameter(weights["predictions.dense.bias"].clone())
    marked.note = "a tensor with an attribute"
    weights["predictions.dense.bias"] = marked
    return {
        "weights": weights,
        "best": numpy.float64(0.5), "step": numpy.int64(12), "arguments": argparse.Namespace(lr=1e-5),
        "device": torch.device("cpu"), "dtype": torch.float32, "counts": Counter("abca"), "names": {"a", "b"},
        "bytes": bytearray(b"ab"), "callbacks": {Callback: {"best": None}}, "generator": torch.Generator().get_state(),
    }


def unmerged(state):
    """PEFT's names for a linear layer and an embedding with updates, and a head that was trained as a copy."""
    state = OrderedDict((f"base_model.model.{name}", tensor.clone()) for name, tensor in state.items())
    adapted, embedding = (f"base_model.model.{name}" for name in (ADAPTED, EMBEDDING))
    scale = ALPHA / RANK

    def powers(rows, columns):
        return 2.0 ** -(torch.arange(rows * columns).reshape(rows, columns) % 3 + 4.0)

    weight = state.pop(f"{adapted}.weight")
    a, b = powers(RANK, weight.shape[1]), powers(weight.shape[0], RANK)
    base = weight - scale * b @ a
    assert torch.equal(base + scale * b @ a, weight)
    state |= {f"{adapted}.base_layer.weight": base, f"{adapted}.base_layer.bias": state.pop(f"{adapted}.bias"),
              f"{adapted}.lora_A.default.weight": a, f"{adapted}.lora_B.default.weight": b}
    table = state.pop(f"{embedding}.weight")
    a, b = powers(RANK, table.shape[0]), powers(table.shape[1], RANK)
    base = table - scale * (b @ a).T
    assert torch.equal(base + scale * (b @ a).T, table)
    state |= {f"{embedding}.base_layer.weight": base,
              f"{embedding}.lora_embedding_A.default": a, f"{embedding}.lora_embedding_B.default": b}
    for part in "weight", "bias":
        trained = state.pop(f"base_model.model.sop_classifier.classifier.{part}")
        state[f"base_model.model.sop_classifier.classifier.modules_to_save.default.{part}"] = trained
        state[f"base_model.model.sop_classifier.classifier.original_module.{part}"] = torch.zeros_like(trained)
    return state


ADAPTER = {"peft_type": "LORA", "base_model_name_or_path": "albert/albert-base-v2", "r": RANK, "lora_alpha": ALPHA,
           "use_rslora": False, "use_dora": False, "fan_in_fan_out": False, "rank_pattern": {}, "alpha_pattern": {}}


def write(out, model, config, write_json):
    """Layouts of the one model, as `torch_files.write_layouts` writes them."""
    state = model.state_dict()

    def folder(name):
        (out / name).mkdir(exist_ok=True)
        write_json(out / name / "config.json", config | {"torch_dtype": "float32"})
        return out / name

    torch.save(with_objects(state), folder("bin-objects") / "pytorch_model.bin")
    torch.save(with_objects(state), folder("bin-objects-legacy") / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    torch.save(OrderedDict(state), folder("bin-protocol-4") / "pytorch_model.bin", pickle_protocol=4)
    root = "trainer.student.core."
    heads = {name: f"trainer.student.{name}" for name in state if not name.startswith("albert.")}
    rooted = {heads.get(name, root + name.removeprefix("albert.")): tensor.clone() for name, tensor in state.items()}
    save_file(rooted, folder("safetensors-any-root") / "model.safetensors")
    save_file({name: tensor.contiguous() for name, tensor in unmerged(state).items()}, folder("peft-unmerged") / "model.safetensors")
    write_json(out / "peft-unmerged/adapter_config.json", ADAPTER)
    torch.save(state, folder("bin-named-safetensors") / "model.safetensors")
    save_file({name: tensor.clone() for name, tensor in state.items()}, folder("safetensors-named-bin") / "pytorch_model.bin")
    # An adapter alone, and a model saved whole, are refused.
    (out / "adapter").mkdir(exist_ok=True)
    adapter = {name: tensor for name, tensor in unmerged(state).items() if "lora_" in name}
    save_file(adapter, out / "adapter/adapter_model.safetensors")
    write_json(out / "adapter/adapter_config.json", ADAPTER)
    torch.save(nn.Linear(2, 2), folder("bin-whole-model") / "pytorch_model.bin")
