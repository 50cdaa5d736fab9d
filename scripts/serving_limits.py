"""Attacks `albert-cli serve` with slow, broken and large requests, and prints its memory.

    python3 scripts/serving_limits.py --binary target/release/albert-cli [--connections 2000]

After each part a good request must have the answer that it had before, the queue must be empty, and
the peak of the memory must be within the bound that the limits give. Needs Linux and no package.
"""

import argparse
import asyncio
import json
import re
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable
from pathlib import Path

MB = 1_000_000

# Seconds that the server gives a client to send its request, in the part with slow clients. Large
# bodies have the default: this process needs more than 5 s to send hundreds of megabytes.
RECEIVE_TIMEOUT = 5

# Seconds after which a connection that the server should have closed counts as left open: on a
# loaded machine it is accepted late.
CLOSED_AFTER = 60

# Seconds after which the texts of most requests wait in the queue.
QUEUED_AFTER = 1

# Bodies that are being read or wait, as --max-body-memory bounds them; parsing and tokenizing a
# body take its length again, for two requests at a time, and free memory is not returned at once.
BODY_MEMORY = 256 * MB
BOUND = 3 * BODY_MEMORY

GOOD = json.dumps({"inputs": "A quick test"}).encode()


def request(body: bytes, length: int | None = None, close: bool = True) -> bytes:
    head = "POST /embed HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body) if length is None else length}\r\n"
    return (head + ("Connection: close\r\n" if close else "") + "\r\n").encode() + body


class Server:
    def __init__(self, binary: str, *options: str):
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        arguments = [binary, "serve", "--quiet", "--listen", f"127.0.0.1:{self.port}", *options]
        self.process = subprocess.Popen(arguments)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.1)
        raise SystemExit("the server does not start")

    def memory(self, field: str) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{field}:\s+(\d+)", status).group(1)) * 1024 / MB

    async def send(self, data: bytes, read: bool = True) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            await writer.drain()
            return await reader.read() if read else b""
        finally:
            writer.close()

    async def get(self, route: str) -> str:
        answer = await self.send(f"GET {route} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        return answer.partition(b"\r\n\r\n")[2].decode()

    async def vector(self) -> bytes:
        answer = await self.send(request(GOOD))
        assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
        return answer.partition(b"\r\n\r\n")[2]


async def quietly(work) -> bytes:
    """Returns what a connection answered, or nothing if it was closed."""
    try:
        return await work
    except OSError:
        return b""


def statuses(answers: list[bytes]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for answer in answers:
        status = answer[9:12].decode() or "closed"
        counts[status] = counts.get(status, 0) + 1
    return dict(sorted(counts.items()))


async def slow(server: Server, count: int) -> str:
    """Connections that send nothing, a part of a head, a part of a body, or no HTTP."""
    beginnings = [
        b"",
        b"POST /embed HT",
        request(b"{", 500),
        b"\x16\x03\x01\x00\xff" * 20,
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000,
    ]

    async def hold(beginning: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            writer.write(beginning)
            for _ in range(3):
                await asyncio.sleep(1)
                if beginning.endswith(b"{"):
                    writer.write(b'"')
            return await asyncio.wait_for(reader.read(), CLOSED_AFTER)
        except TimeoutError:
            raise SystemExit(f"a connection that sent {beginning[:20]!r} stays open") from None
        finally:
            writer.close()

    held = [asyncio.create_task(quietly(hold(beginnings[i % len(beginnings)]))) for i in range(count)]
    await asyncio.sleep(1)
    begin = time.perf_counter()
    await server.vector()
    waited = time.perf_counter() - begin
    answers = await asyncio.gather(*held)
    return f"{statuses(answers)}; a good request among them was answered after {waited:.1f} s"


async def large(server: Server) -> str:
    body = json.dumps({"inputs": "a" * (40 * MB)}).encode()
    announced = await asyncio.gather(*(quietly(server.send(request(body))) for _ in range(16)))
    chunk = f"{MB:x}\r\n".encode() + body[:MB] + b"\r\n"
    head = b"POST /embed HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked = await asyncio.gather(*(quietly(server.send(head + chunk * 40 + b"0\r\n\r\n")) for _ in range(8)))
    fitting = json.dumps({"inputs": "a " * (15 * MB)}).encode()
    good = await asyncio.gather(*(quietly(server.send(request(fitting))) for _ in range(24)))
    # Every client receives the reason, also while it still sends.
    assert set(statuses(announced)) == {"413"}, statuses(announced)
    assert set(statuses(chunked)) <= {"413", "503"}, statuses(chunked)
    # 408 if this machine cannot send all of them in time.
    assert all(answer[9:12] in (b"200", b"408", b"503") for answer in good), statuses(good)
    return f"40 MB {statuses(announced)}; 40 MB in chunks {statuses(chunked)}; 30 MB {statuses(good)}"


async def deep(server: Server) -> str:
    bodies = [b"[" * MB, b'{"a":' * MB, b'{"inputs":' + b"[" * MB, b'{"inputs": "' + b"\\ud800" * 1000 + b'"}']
    answers = [await server.send(request(body)) for body in bodies]
    assert all(answer.startswith(b"HTTP/1.1 4") for answer in answers), statuses(answers)
    return f"{statuses(answers)}"


async def disconnect(server: Server, count: int) -> str:
    """Clients that leave in the middle of a body, and while their texts wait."""
    many = json.dumps({"inputs": ["a river runs through the town " * 20] * 16}).encode()
    broken = [quietly(server.send(request(many, len(many) + 9), read=False)) for _ in range(count)]

    async def leave() -> bytes:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request(many))
        await writer.drain()
        await asyncio.sleep(QUEUED_AFTER)
        writer.close()
        return b""

    await asyncio.gather(*broken, *(quietly(leave()) for _ in range(count)))
    for _ in range(300):
        metrics = await server.get("/metrics")
        if "\nalbert_queue_tokens 0\n" in metrics:
            dropped = re.search(r'te_request_failure\{err="dropped"\} (\d+)', metrics)
            assert dropped, "no request of a client that left was taken out of the queue"
            return f"{2 * count} clients left; {dropped.group(1)} requests taken out of the queue"
        await asyncio.sleep(0.1)
    raise SystemExit("texts of clients that left stay in the queue")


async def terminate(server: Server, connections: int) -> str:
    """Clients that send requests while SIGTERM ends the server: every one that was sent over an open
    connection must be answered."""
    body = json.dumps({"inputs": ["a river runs through the town"] * 4}).encode()
    ended = False
    counts = {"200": 0, "503": 0, "not connected": 0}

    async def client() -> None:
        while not ended:
            try:
                answer = await server.send(request(body))
            except ConnectionRefusedError:
                counts["not connected"] += 1
                return
            length = int(re.search(rb"content-length: (\d+)", answer).group(1))
            assert len(answer.partition(b"\r\n\r\n")[2]) == length, "a part of an answer is missing"
            counts[answer[9:12].decode()] += 1

    clients = [asyncio.create_task(client()) for _ in range(connections)]
    await asyncio.sleep(2)
    server.process.send_signal(signal.SIGTERM)
    await asyncio.sleep(0.5)
    ended = True
    await asyncio.gather(*clients)
    code = await asyncio.to_thread(server.process.wait, 60)
    assert code == 0, f"exit code {code}"
    return f"{counts}; exit code {code}"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--connections", type=int, default=2000)
    given = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    impatient = Server(given.binary, "--receive-timeout", str(RECEIVE_TIMEOUT))
    await check(impatient, {f"{given.connections} slow or broken connections": slow(impatient, given.connections)})
    impatient.process.kill()
    impatient.process.wait()
    server = Server(given.binary, "--drain-seconds", "1")
    parts = {
        "large bodies": large(server),
        "deep and broken JSON": deep(server),
        "clients that leave": disconnect(server, 100),
    }
    await check(server, parts)
    print(f"{'SIGTERM under load':<44}{await terminate(server, 64)}")


async def check(server: Server, parts: dict[str, Awaitable[str]]) -> None:
    """Runs attacks, and asks for a good answer and for the memory after each."""
    expected = await server.vector()
    before = server.memory("VmRSS")
    print(f"{'at rest':<44}{before:>7.0f} MB", flush=True)
    for name, part in parts.items():
        said = await part
        assert await server.vector() == expected, f"{name}: another answer"
        peak = server.memory("VmHWM")
        print(f"{name:<44}{server.memory('VmRSS'):>7.0f} MB, peak {peak:.0f} MB: {said}", flush=True)
        assert peak < before + BOUND / MB, f"peak {peak:.0f} MB: expected at most {before + BOUND / MB:.0f}"


if __name__ == "__main__":
    asyncio.run(main())
