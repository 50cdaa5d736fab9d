"""A peer of `albert-cli serve`: sentence-transformers served by FastAPI.

    python benches/serving/peer.py MODEL PORT THREADS

Answers `POST /embed` with `{"inputs": TEXT or [TEXT, …]}` as text-embeddings-inference does.
"""

import sys

import sentence_transformers
import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

folder, port, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(threads)
model = sentence_transformers.SentenceTransformer(folder, device="cpu")
app = FastAPI()


class Request(BaseModel):
    inputs: str | list[str]


# FastAPI calls a plain function in a pool of threads.
@app.post("/embed")
def embed(request: Request) -> list[list[float]]:
    texts = [request.inputs] if isinstance(request.inputs, str) else request.inputs
    return model.encode(texts, show_progress_bar=False).tolist()


@app.get("/health")
def health() -> None:
    return None


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
