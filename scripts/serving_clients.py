"""Runs the clients that docs/serving.md names against `albert-cli serve`.

    python3 scripts/serving_clients.py --binary target/release/albert-cli

Every client that is installed must return the vectors that `albert-cli embed` writes, or, for a
reranker, the order of `albert-cli rerank`; one that is not installed is named and skipped. Ends with
an error if none is.

    pip install openai langchain-openai huggingface_hub chromadb litellm \\
        llama-index-embeddings-text-embeddings-inference llama-index-postprocessor-tei-rerank
"""

import argparse
import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request

TEXTS = ["A man is playing a guitar.", "Someone makes music.", "", "Ünïcode and 東京."]

QUERY = "Where does the train leave?"
DOCUMENTS = ["The train leaves the station.", "Bread and milk.", "She opened the door and walked in."]

# A small random cross-encoder of the tests.
RERANKER = "crates/albert-tasks/tests/fixtures/pipelines/single"

# JSON writes the shortest decimal of an f32, and numpy reads it as f64 before rounding.
TOLERANCE = 1e-7


def openai(url):
    from openai import OpenAI

    client = OpenAI(base_url=url + "/v1", api_key="-")
    answer = client.embeddings.create(model="albert-mini-en", input=TEXTS)
    return [row.embedding for row in answer.data]


def langchain_openai(url):
    from langchain_openai import OpenAIEmbeddings

    embeddings = OpenAIEmbeddings(
        base_url=url + "/v1",
        api_key="-",
        model="albert-mini-en",
        check_embedding_ctx_length=False,
    )
    return embeddings.embed_documents(TEXTS)


def huggingface_hub(url):
    from huggingface_hub import InferenceClient

    client = InferenceClient(model=url)
    best = client.fill_mask("She opened the [MASK] and walked in.")[0]
    assert best.token_str and 0 < best.score < 1, best
    scores = client.sentence_similarity(TEXTS[0], other_sentences=[TEXTS[0], TEXTS[1]])
    assert abs(scores[0] - 1) < 1e-6 and scores[1] < 1, scores
    return [client.feature_extraction(text)[0] for text in TEXTS]


def chromadb(url):
    from chromadb.utils.embedding_functions import HuggingFaceEmbeddingServer

    return HuggingFaceEmbeddingServer(url=url + "/embed")(TEXTS)


def litellm(url):
    import litellm

    answer = litellm.embedding(
        model="openai/albert-mini-en", input=TEXTS, api_base=url + "/v1", api_key="-"
    )
    return [row["embedding"] for row in answer.data]


def llama_index_embeddings_text_embeddings_inference(url):
    from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference

    model = TextEmbeddingsInference(
        model_name="albert-mini-en", base_url=url, text_instruction="", query_instruction=""
    )
    return model.get_text_embedding_batch(TEXTS)


def llama_index_postprocessor_tei_rerank(url):
    from llama_index.core.schema import NodeWithScore, TextNode
    from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

    reranker = TextEmbeddingInference(base_url=url, top_n=len(DOCUMENTS))
    nodes = [NodeWithScore(node=TextNode(text=text), score=0) for text in DOCUMENTS]
    ranked = reranker.postprocess_nodes(nodes, query_str=QUERY)
    return [(node.text, node.score) for node in ranked]


CLIENTS = [
    openai,
    langchain_openai,
    huggingface_hub,
    chromadb,
    litellm,
    llama_index_embeddings_text_embeddings_inference,
]


def start(binary, *options):
    """Starts a server on a free port and returns it with its address."""
    server = subprocess.Popen(
        [binary, "serve", "--listen", "127.0.0.1:0", *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in server.stderr:
        found = re.search(r"listening on (http://[\d.:]*\d)", line)
        if found:
            # Read the log, so that the server never waits for room in the pipe.
            threading.Thread(target=server.stderr.read, daemon=True).start()
            return server, found.group(1)
    sys.exit("the server did not start")


def stop(server):
    """Ends a server, without the time that it gives a load balancer."""
    server.send_signal(signal.SIGINT)
    server.wait(timeout=60)


def installed(client):
    try:
        return importlib.metadata.version(client.__name__.replace("_", "-"))
    except importlib.metadata.PackageNotFoundError:
        return None


def written(binary, *arguments):
    """Returns the rows that the command writes."""
    command = [binary, *arguments, "--format", "jsonl", "--quiet"]
    output = subprocess.run(command, capture_output=True, check=True, text=True, input="\n".join(DOCUMENTS))
    return [json.loads(line) for line in output.stdout.splitlines()]


def check_embeddings(binary):
    """Compares the vectors of each client with the command's, and returns the number of clients."""
    expected = [row["embedding"] for row in written(binary, "embed", *TEXTS)]
    server, url = start(binary)
    ran = 0
    try:
        for client in CLIENTS:
            version = installed(client)
            if version is None:
                print(f"{client.__name__}: not installed, skipped")
                continue
            begin = time.perf_counter()
            found = client(url)
            worst = max(
                abs(a - b) for x, y in zip(found, expected, strict=True) for a, b in zip(x, y, strict=True)
            )
            assert worst <= TOLERANCE, (client.__name__, worst)
            seconds = time.perf_counter() - begin
            print(f"{client.__name__} {version}: {len(found)} vectors, largest difference {worst:.1e}, {seconds:.1f} s")
            ran += 1
        with urllib.request.urlopen(url + "/metrics") as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(("te_embed_success", "process_resident_memory_bytes")):
                    print(line)
    finally:
        stop(server)
    return ran


def check_reranker(binary):
    """Compares the order and the scores of a reranker's client with the command's."""
    client = llama_index_postprocessor_tei_rerank
    version = installed(client)
    if version is None:
        print(f"{client.__name__}: not installed, skipped")
        return 0
    rows = written(binary, "rerank", QUERY, "--model", RERANKER, "--probability")
    server, url = start(binary, "--model", RERANKER)
    try:
        found = client(url)
    finally:
        stop(server)
    assert [text for text, _ in found] == [row["text"] for row in rows], (found, rows)
    worst = max(abs(score - row["score"]) for (_, score), row in zip(found, rows, strict=True))
    assert worst <= TOLERANCE, worst
    print(f"{client.__name__} {version}: {len(found)} texts, largest difference {worst:.1e}")
    return 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", default="target/release/albert-cli")
    arguments = parser.parse_args()
    os.environ.setdefault("ANONYMIZED_TELEMETRY", "False")
    # litellm would fetch the prices of models.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

    ran = check_embeddings(arguments.binary) + check_reranker(arguments.binary)
    if ran == 0:
        sys.exit("no client is installed")


if __name__ == "__main__":
    main()
