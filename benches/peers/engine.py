"""One peer in a separate process: loads its network, then times the cases of its requests.

    python benches/peers/engine.py ENGINE FOLDER THREADS

Answers one JSON line for each line of input, as the Rust engine does (benches/src/bin/engine.rs):

    {"describe": true}                        {"instructions": NAME}
    {"case": NAME, "output": FILE or null}    {"seconds": S, "peak_mb": M}
    {"texts": FILE, "output": FILE or null}   {"seconds": S, "peak_mb": M}

A case is a list of batches of token ids; with an output file, the first batch's last hidden state is
written to it as .npy. Texts are one per line; they are tokenized, encoded, pooled and normalized within
the time, and the output is their vectors.
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

SORTED_BATCH = 32  # sentence-transformers' default, after sorting by length
FASTEMBED_BATCH = 256  # fastembed's default, in the order given


def padded(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    longest = max(len(row) for row in rows)
    ids = np.array([row + [0] * (longest - len(row)) for row in rows], dtype=np.int64)
    mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in rows], dtype=np.int64)
    return ids, mask


class PyTorch:
    """transformers for token ids; sentence-transformers for texts."""

    def __init__(self, folder: Path, threads: int, int8: bool):
        import torch

        torch.set_num_threads(threads)
        self.torch, self.folder, self.int8 = torch, folder, int8
        self.model = self.sentences = None

    def prepared(self, model):
        if self.int8:
            quantize = self.torch.ao.quantization.quantize_dynamic
            return quantize(model, {self.torch.nn.Linear}, dtype=self.torch.qint8)
        return model

    def instructions(self) -> str:
        return self.torch.backends.cpu.get_cpu_capability()

    def load_model(self) -> None:
        from transformers import AutoModel

        model = AutoModel.from_pretrained(
            self.folder / "model", add_pooling_layer=False, attn_implementation="sdpa"
        )
        self.model = self.prepared(model.eval())

    def load_sentences(self) -> None:
        from sentence_transformers import SentenceTransformer

        self.sentences = SentenceTransformer(str(self.folder / "model"), device="cpu")
        self.sentences[0].auto_model = self.prepared(self.sentences[0].auto_model)

    def run(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        with self.torch.inference_mode():
            output = self.model(
                input_ids=self.torch.from_numpy(ids), attention_mask=self.torch.from_numpy(mask)
            )
        return output.last_hidden_state.numpy()

    def embed(self, texts: list[str]) -> np.ndarray:
        return self.sentences.encode(
            texts, batch_size=SORTED_BATCH, normalize_embeddings=True, show_progress_bar=False
        )


class Exported:
    """An exported network: Hugging Face's tokenizers, mean pooling, unit vectors."""

    def __init__(self, folder: Path, fastembed: bool = False):
        self.folder, self.fastembed = folder, fastembed
        self.tokenizer = None

    def load_model(self) -> None:
        pass

    def load_sentences(self) -> None:
        from tokenizers import Tokenizer

        settings = json.loads((self.folder / "texts.json").read_text())
        self.tokenizer = Tokenizer.from_file(str(self.folder / "model/tokenizer.json"))
        self.tokenizer.enable_truncation(settings["max_length"])
        self.tokenizer.no_padding()

    def embed(self, texts: list[str]) -> np.ndarray:
        encoded = [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        order = range(len(encoded))
        if not self.fastembed:
            order = sorted(order, key=lambda index: len(encoded[index]))
        size = FASTEMBED_BATCH if self.fastembed else SORTED_BATCH
        vectors = None
        for start in range(0, len(encoded), size):
            chosen = list(order[start : start + size])
            ids, mask = padded([encoded[index] for index in chosen])
            states, weights = self.run(ids, mask), mask[..., None].astype(np.float32)
            pooled = (states * weights).sum(1) / weights.sum(1)
            pooled /= np.linalg.norm(pooled, axis=-1, keepdims=True)
            if vectors is None:
                vectors = np.empty((len(encoded), pooled.shape[-1]), np.float32)
            vectors[chosen] = pooled
        return vectors


class OnnxRuntime(Exported):
    def __init__(self, folder: Path, threads: int, int8: bool, fastembed: bool = False):
        import onnxruntime as ort

        super().__init__(folder, fastembed)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        name = "model-int8.onnx" if int8 else "model.onnx"
        self.session = ort.InferenceSession(folder / name, options, providers=["CPUExecutionProvider"])

    def instructions(self) -> str:
        return "not reported"

    def run(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return self.session.run(None, {"input_ids": ids, "attention_mask": mask})[0]


class OpenVino(Exported):
    def __init__(self, folder: Path, threads: int, int8: bool):
        import openvino as ov

        super().__init__(folder)
        name = "openvino-int8.xml" if int8 else "openvino.xml"
        settings = {
            "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32",
        }
        core = ov.Core()
        self.capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self.request = core.compile_model(folder / name, "CPU", settings).create_infer_request()

    def instructions(self) -> str:
        return "not reported (capabilities " + " ".join(self.capabilities) + ")"

    def run(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return self.request.infer({"input_ids": ids, "attention_mask": mask})[0]


ENGINES = {
    "PyTorch f32": lambda folder, threads: PyTorch(folder, threads, int8=False),
    "PyTorch int8": lambda folder, threads: PyTorch(folder, threads, int8=True),
    "ONNX Runtime f32": lambda folder, threads: OnnxRuntime(folder, threads, int8=False),
    "ONNX Runtime int8": lambda folder, threads: OnnxRuntime(folder, threads, int8=True),
    "fastembed f32": lambda folder, threads: OnnxRuntime(folder, threads, int8=False, fastembed=True),
    "OpenVINO f32": lambda folder, threads: OpenVino(folder, threads, int8=False),
    "OpenVINO int8": lambda folder, threads: OpenVino(folder, threads, int8=True),
}


def main() -> None:
    name, folder, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    cases = json.loads((folder / "cases.json").read_text())
    engine = ENGINES[name](folder, threads)
    has_model = has_sentences = False
    for line in sys.stdin:
        request = json.loads(line)
        if request.get("describe"):
            print(json.dumps({"instructions": engine.instructions()}), flush=True)
            continue
        if "texts" in request:
            if not has_sentences:
                engine.load_sentences()
                has_sentences = True
            texts = Path(request["texts"]).read_text(encoding="utf-8").splitlines()
            started = time.perf_counter()
            output = engine.embed(texts)
        else:
            if not has_model:
                engine.load_model()
                has_model = True
            batches = [padded(rows) for rows in cases[request["case"]]["batches"]]
            started = time.perf_counter()
            output = [engine.run(ids, mask) for ids, mask in batches][0]
        seconds = time.perf_counter() - started
        if request.get("output"):
            np.save(request["output"], output)
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "peak_mb": peak_mb}), flush=True)


if __name__ == "__main__":
    main()
