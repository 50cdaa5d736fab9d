"""PyTorch in the comparison of compare.py: ALBERT in a page of torch, with its fused attention.

    python torch_engine.py FOLDER f32|f16|bf16 DEVICE eager|compile

Reads and answers the same lines as albert-model's `engine`, on the same weights and tokens. It is written out here because
a machine with a GPU often has PyTorch and not transformers; on each run its hidden states are compared with albert-model's.
TF32 is off. Tokens are on the device before the clock starts.
"""

import json
import resource
import sys
import time
from array import array
from pathlib import Path

import torch
from torch.nn.functional import embedding, gelu, layer_norm, linear, scaled_dot_product_attention

from files import read_safetensors, write_npy

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
LAYER = "encoder.albert_layer_groups.0.albert_layers.0."


class Albert(torch.nn.Module):
    """Ids and mask to the last hidden state; one group of one layer, tanh gelu, no token types."""

    def __init__(self, folder: Path, dtype: torch.dtype, device: str):
        super().__init__()
        self.config = json.loads((folder / "config.json").read_text())
        for name, (shape, numbers) in read_safetensors(folder / "model.safetensors").items():
            tensor = torch.frombuffer(numbers, dtype=torch.float32).reshape(shape)
            self.register_buffer(name.replace(".", "/"), tensor.to(device, dtype))
        # Queries, keys and values in one product.
        for kind in ["weight", "bias"]:
            parts = [self.get(f"{LAYER}attention.{part}.{kind}") for part in ["query", "key", "value"]]
            self.register_buffer(f"projections/{kind}", torch.cat(parts))

    def get(self, name: str) -> torch.Tensor:
        return getattr(self, name.replace(".", "/"))

    def dense(self, name: str, xs: torch.Tensor) -> torch.Tensor:
        return linear(xs, self.get(f"{name}.weight"), self.get(f"{name}.bias"))

    def norm(self, name: str, xs: torch.Tensor) -> torch.Tensor:
        weight, bias = self.get(f"{name}.weight"), self.get(f"{name}.bias")
        return layer_norm(xs, (xs.shape[-1],), weight, bias, self.config["layer_norm_eps"])

    def forward(self, ids: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        batch, tokens = ids.shape
        heads = self.config["num_attention_heads"]
        words = embedding(ids, self.get("embeddings.word_embeddings.weight"))
        positions = self.get("embeddings.position_embeddings.weight")[:tokens]
        types = self.get("embeddings.token_type_embeddings.weight")[0]
        xs = self.norm("embeddings.LayerNorm", words + positions + types)
        xs = self.dense("encoder.embedding_hidden_mapping_in", xs)
        for _ in range(self.config["num_hidden_layers"]):
            projected = self.dense("projections", xs).view(batch, tokens, 3, heads, -1)
            query, key, value = projected.permute(2, 0, 3, 1, 4)
            context = scaled_dot_product_attention(query, key, value, attn_mask=mask)
            context = context.transpose(1, 2).reshape(batch, tokens, -1)
            xs = self.norm(f"{LAYER}attention.LayerNorm", xs + self.dense(f"{LAYER}attention.dense", context))
            inner = gelu(self.dense(f"{LAYER}ffn", xs), approximate="tanh")
            xs = self.norm(f"{LAYER}full_layer_layer_norm", xs + self.dense(f"{LAYER}ffn_output", inner))
        return xs


def padded(rows: list[list[int]], device: str) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Without a mask where there is no padding."""
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    if min(map(len, rows)) == longest:
        return ids, None
    return ids, (torch.arange(longest, device=device) < lengths[:, None])[:, None, None, :]


def main() -> None:
    folder, dtype, device, mode = Path(sys.argv[1]), DTYPES[sys.argv[2]], *sys.argv[3:5]
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    cases = json.loads((folder / "cases.json").read_text())
    with torch.inference_mode():
        model = Albert(folder / "model", dtype, device).eval()
        run = torch.compile(model) if mode == "compile" else model
        for line in sys.stdin:
            asked = json.loads(line)
            batches = [padded(rows, device) for rows in cases[asked["case"]]["batches"]]
            wait()
            started = time.perf_counter()
            for ids, mask in batches:
                run(ids, mask)
            wait()
            seconds = time.perf_counter() - started
            if asked.get("output"):
                states = run(*batches[0]).float().cpu().contiguous()
                write_npy(Path(asked["output"]), list(states.shape), array("f", states.flatten().tolist()))
            peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(json.dumps({"seconds": seconds, "peak_mb": peak_mb}), flush=True)


if __name__ == "__main__":
    main()
