"""A checkpoint as a folder that transformers, sentence-transformers and this project read.

    export.py --work DIR --from refined.pt --output ../../models/albert-mini-en/data

Weights are rounded to f16. The decoder's matrix and bias are left out: they are the piece embeddings and
`predictions.bias`.
"""

import argparse
import json
import shutil
from pathlib import Path

import safetensors
import torch
from safetensors.torch import save_file


def albert_config(config):
    return {
        "architectures": ["AlbertForPreTraining"],
        "model_type": "albert",
        "attention_probs_dropout_prob": 0.0,
        "bos_token_id": 2,
        "classifier_dropout_prob": 0.0,
        "embedding_size": config["embedding_size"],
        "eos_token_id": 3,
        "hidden_act": "gelu_new",
        "hidden_dropout_prob": 0.0,
        "hidden_size": config["hidden_size"],
        "initializer_range": 0.02,
        "inner_group_num": 1,
        "intermediate_size": config["intermediate_size"],
        "layer_norm_eps": config["layer_norm_eps"],
        "max_position_embeddings": config["max_position_embeddings"],
        "num_attention_heads": config["num_attention_heads"],
        "num_hidden_groups": 1,
        "num_hidden_layers": config["num_hidden_layers"],
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
        "tie_word_embeddings": True,
        # What it is to be computed in; the file holds f16.
        "torch_dtype": "float32",
        "type_vocab_size": config["type_vocab_size"],
        "vocab_size": config["vocab_size"],
    }


def json_files(config):
    """Returns every small file other than the weights, by its path in the folder."""
    return {
        "config.json": albert_config(config),
        "tokenizer_config.json": {
            # The generic class reads tokenizer.json as it is; AlbertTokenizer would rebuild it.
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": config["max_position_embeddings"],
            "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
            "do_lower_case": True,
            "keep_accents": False,
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            "bos_token": "[CLS]",
            "eos_token": "[SEP]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
            "mask_token": "[MASK]",
        },
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": config["hidden_size"],
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
            "pooling_mode_weightedmean_tokens": False,
            "pooling_mode_lasttoken": False,
            "include_prompt": True,
        },
        "sentence_bert_config.json": {"max_seq_length": config["max_position_embeddings"], "do_lower_case": False},
        "config_sentence_transformers.json": {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the checkpoint and tokenizer.json")
    parser.add_argument("--from", dest="checkpoint", default="refined.pt", help="file in --work (default refined.pt)")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    print(f"torch {torch.__version__}, safetensors {safetensors.__version__}")

    state = torch.load(args.work / args.checkpoint, map_location="cpu", weights_only=False)
    tensors = {name: tensor.to(torch.float16).contiguous() for name, tensor in state["model"].items()}
    for name, tensor in tensors.items():
        assert tensor.isfinite().all(), f"tensor `{name}` should be finite in f16"
    for name, content in json_files(state["config"]).items():
        path = args.output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    shutil.copyfile(args.work / "tokenizer.json", args.output / "tokenizer.json")
    partial = args.output / "model.safetensors.partial"
    save_file(tensors, partial, metadata={"format": "pt"})
    partial.replace(args.output / "model.safetensors")

    sizes = {path.relative_to(args.output): path.stat().st_size for path in args.output.rglob("*") if path.is_file()}
    for path, size in sorted(sizes.items()):
        print(f"{size:>9}  {path}")
    parameters = sum(tensor.numel() for tensor in tensors.values())
    print(f"{sum(sizes.values()):>9}  in all; {parameters} parameters, step {state.get('step', 0)}")


if __name__ == "__main__":
    main()
