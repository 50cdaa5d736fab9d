"""Compares `albert-cli serve` with sentence-transformers served by FastAPI.

    python benches/serving/compare.py --binary target/release/albert-cli --model DIR \
        [--python PYTHON] [--threads 2] [--requests 400] [--repeat 3] [--url NAME=http://HOST:PORT …]

Sends texts of very different lengths, one in a request, over 1, 8 and 64 connections, and prints for
each server the texts per second, the median and the 99th percentile of the time to an answer, the
processor time that the server took per text, and the peak of its memory; then the ratios to
sentence-transformers. The servers take turns and never run together. All must return the same
vectors, int8 those of a cosine of 0.99 at least. `--url` adds a server that is already running, such
as text-embeddings-inference; its processor time and memory are not known here.

PYTHON has sentence-transformers, fastapi and uvicorn. The machine must be idle.
"""

import argparse
import asyncio
import json
import math
import os
import platform
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

CONNECTIONS = (1, 8, 64)

# The server that the others are compared with.
PEER = "sentence-transformers, FastAPI"

# f32 sums in another order, on values below 1.
TOLERANCE = 1e-5

# The smallest cosine of an int8 vector and that of f32.
INT8_COSINE = 0.99

WORDS = (
    "the river runs through an old town where people work in quiet rooms and read letters about "
    "winter music weather bread houses horses mountains numbers ships gardens windows and streets"
).split()


def ragged_texts(count: int) -> list[str]:
    """Texts of 1 to 400 words: half of them short, a tenth long."""
    draws = random.Random(1)
    texts = []
    for _ in range(count):
        kind = draws.random()
        longest = 12 if kind < 0.5 else 80 if kind < 0.9 else 400
        words = draws.choices(WORDS, k=draws.randint(1, longest))
        texts.append(" ".join(words))
    return texts


async def ask(port: int, reader, writer, text: str) -> tuple[int, bytes]:
    body = json.dumps({"inputs": text}).encode()
    head = (
        f"POST /embed HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()
    answer = await reader.readuntil(b"\r\n\r\n")
    length = int(re.search(rb"(?i)content-length: *(\d+)", answer).group(1))
    return int(answer[9:12]), await reader.readexactly(length)


async def load(port: int, texts: list[str], connections: int) -> tuple[float, list[float]]:
    """Returns the texts per second and the seconds of each request."""
    waiting = iter(texts)
    seconds: list[float] = []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for text in waiting:
            begin = time.perf_counter()
            status, _ = await ask(port, reader, writer, text)
            if status != 200:
                raise RuntimeError(f"status {status}")
            seconds.append(time.perf_counter() - begin)
        writer.close()

    begin = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(connections)))
    return len(texts) / (time.perf_counter() - begin), seconds


async def vectors(port: int, texts: list[str]) -> list[list[float]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    rows = [json.loads((await ask(port, reader, writer, text))[1])[0] for text in texts]
    writer.close()
    return rows


def peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) * 1024 / 1e6


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = int(fields[11]), int(fields[12])
    return (user + system) / os.sysconf("SC_CLK_TCK")


def check(name: str, found: list[list[float]], expected: list[list[float]]) -> None:
    """Ends the run if a server returns other vectors than the first one."""
    if "int8" in name:
        lowest = min(cosine(one, other) for one, other in zip(found, expected, strict=True))
        if lowest < INT8_COSINE:
            sys.exit(f"{name}: a cosine of {lowest} with the vector of f32")
        return
    worst = max(
        abs(a - b)
        for one, other in zip(found, expected, strict=True)
        for a, b in zip(one, other, strict=True)
    )
    if worst > TOLERANCE:
        sys.exit(f"{name}: vectors differ by {worst}")


def cosine(one: list[float], other: list[float]) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / (math.hypot(*one) * math.hypot(*other))


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Server:
    """A server of the comparison, running within `with`."""

    def __init__(self, arguments: list[str], port: int):
        self.arguments, self.port, self.pid = arguments, port, None

    def __enter__(self) -> "Server":
        if self.arguments:
            self.process = subprocess.Popen(
                self.arguments, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )
            self.pid = self.process.pid
        for _ in range(1500):
            if self.arguments and self.process.poll() is not None:
                break
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5).close()
                return self
            except OSError:
                time.sleep(0.2)
        raise RuntimeError(f"no answer: {self.arguments}")

    def __exit__(self, *_) -> None:
        if self.arguments:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=60)


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "?")
    return f"{name}, {len(os.sched_getaffinity(0))} cores, {platform.system()} {platform.release()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--url", action="append", default=[], metavar="NAME=http://127.0.0.1:PORT")
    given = parser.parse_args()
    threads = str(given.threads)

    def albert(dtype: str) -> tuple[list[str], int]:
        port = free_port()
        arguments = [given.binary, "serve", "--model", given.model, "--dtype", dtype]
        return arguments + ["--threads", threads, "--listen", f"127.0.0.1:{port}", "--quiet"], port

    peer_port = free_port()
    peer = [given.python, str(Path(__file__).with_name("peer.py")), given.model, str(peer_port), threads]
    servers = {
        "albert-cli serve, f32": albert("f32"),
        "albert-cli serve, int8": albert("int8"),
        PEER: (peer, peer_port),
    }
    for url in given.url:
        name, address = url.split("=", 1)
        servers[name] = ([], int(address.rsplit(":", 1)[1]))

    version = subprocess.run([given.binary, "--version"], capture_output=True, text=True).stdout.strip()
    query = "import importlib.metadata as m; print(', '.join(f'{n} {m.version(n)}' for n in ('sentence-transformers', 'torch', 'fastapi', 'uvicorn')))"
    found = subprocess.run([given.python, "-c", query], capture_output=True, text=True)
    if found.returncode != 0:
        sys.exit(f"{given.python}: {found.stderr.strip().splitlines()[-1]}")
    peers = found.stdout.strip()
    print(f"{machine()}; {threads} threads; {version}; {peers}")
    print(f"{given.model}; {given.requests} requests of one text of 1 to 400 words; best of {given.repeat}", flush=True)

    texts = ragged_texts(given.requests)
    expected = None
    measured: dict[tuple[str, int], tuple[float, float]] = {}
    columns = f"{'texts/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'CPU ms/text':>13}{'peak MB':>9}"
    print(f"\n{'server':<32}{'connections':>12}{columns}", flush=True)
    for name, (arguments, port) in servers.items():
        with Server(arguments, port) as server:
            found = asyncio.run(vectors(port, texts[:20]))
            expected = expected or found
            check(name, found, expected)
            asyncio.run(load(port, texts[:100], 8))
            for connections in CONNECTIONS:
                before = processor_seconds(server.pid) if server.pid else 0
                runs = [asyncio.run(load(port, texts, connections)) for _ in range(given.repeat)]
                rate, seconds = max(runs)
                seconds.sort()
                median = statistics.median(seconds) * 1e3
                late = seconds[min(len(seconds) - 1, int(0.99 * len(seconds)))] * 1e3
                measured[name, connections] = rate, late
                used = ""
                if server.pid:
                    spent = (processor_seconds(server.pid) - before) / (given.repeat * len(texts))
                    used = f"{spent * 1e3:>13.2f}{peak_mb(server.pid):>9.0f}"
                row = f"{name:<32}{connections:>12}{rate:>10.1f}{median:>9.1f}{late:>9.1f}{used}"
                print(row, flush=True)

    print(f"\n{'against ' + PEER:<44}{'texts/s':>10}{'p99':>9}")
    for (name, connections), (rate, late) in measured.items():
        if name != PEER:
            peer_rate, peer_late = measured[PEER, connections]
            ratios = f"{f'{rate / peer_rate:.2f} ×':>10}{f'{late / peer_late:.2f} ×':>9}"
            print(f"{name:<32}{connections:>12}{ratios}")


if __name__ == "__main__":
    main()
