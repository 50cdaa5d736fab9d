"""One peer, held in a process of its own: loads its network, then times what it is asked to.

    python benches/peers/engine.py ENGINE FOLDER THREADS

Reads `{"case": NAME, "output": FILE or null}` a line and answers `{"seconds": S, "peak_mb": M}` a line,
as the Rust side of the comparison does. With an output file, the first batch's last hidden state is
written to it as .npy.
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np


def padded(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    longest = max(len(row) for row in rows)
    ids = np.array([row + [0] * (longest - len(row)) for row in rows], dtype=np.int64)
    mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in rows], dtype=np.int64)
    return ids, mask


def pytorch(folder: Path, threads: int, int8: bool = False):
    import torch
    from transformers import AlbertModel

    torch.set_num_threads(threads)
    model = AlbertModel.from_pretrained(folder / "model", add_pooling_layer=False, attn_implementation="sdpa")
    model = model.eval()
    if int8:
        model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)

    def run(ids, mask):
        with torch.inference_mode():
            output = model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
        return output.last_hidden_state.numpy()

    return run


def onnxruntime(folder: Path, threads: int, int8: bool = False):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    name = "model-int8.onnx" if int8 else "model.onnx"
    session = ort.InferenceSession(folder / name, options, providers=["CPUExecutionProvider"])
    return lambda ids, mask: session.run(None, {"input_ids": ids, "attention_mask": mask})[0]


def openvino(folder: Path, threads: int, int8: bool = False):
    import openvino as ov

    name = "openvino-int8.xml" if int8 else "openvino.xml"
    settings = {
        "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32",
    }
    request = ov.Core().compile_model(folder / name, "CPU", settings).create_infer_request()
    return lambda ids, mask: request.infer({"input_ids": ids, "attention_mask": mask})[0]


ENGINES = {
    "PyTorch f32": lambda folder, threads: pytorch(folder, threads),
    "PyTorch int8": lambda folder, threads: pytorch(folder, threads, int8=True),
    "ONNX Runtime f32": lambda folder, threads: onnxruntime(folder, threads),
    "ONNX Runtime int8": lambda folder, threads: onnxruntime(folder, threads, int8=True),
    "OpenVINO f32": lambda folder, threads: openvino(folder, threads),
    "OpenVINO int8": lambda folder, threads: openvino(folder, threads, int8=True),
}


def main() -> None:
    engine, folder, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    cases = json.loads((folder / "cases.json").read_text())
    run = ENGINES[engine](folder, threads)
    for line in sys.stdin:
        asked = json.loads(line)
        batches = [padded(rows) for rows in cases[asked["case"]]["batches"]]
        started = time.perf_counter()
        outputs = [run(ids, mask) for ids, mask in batches]
        seconds = time.perf_counter() - started
        if asked.get("output"):
            np.save(asked["output"], outputs[0])
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "peak_mb": peak_mb}), flush=True)


if __name__ == "__main__":
    main()
