"""A chat model on loopback that speaks OpenAI's protocol, answers at a fixed pace and misbehaves as told.

python tests/support/chat_server.py --delay 0.05 --faults prints its address, then serves until it is killed. What it
says depends on the prompt alone, so every run of the same calls ends in the same rows. With --faults the first request
of some prompts meets a 429, a 500, a connection reset or an answer cut short on the wire; some judgements have no
legible grade the first time, some never. With --answers 50 every further answer is held until GET /go. GET /stats
tells how many answers were paid for, and how often the most expensive prompt was.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import re
from collections import Counter

_HEAD = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n"
_WORD = re.compile(r"[a-z]{4,}")
_DOCUMENT = re.compile(r"<document>\n(.*?)\n</document>", re.DOTALL)
_PLACES = ("salt wave", "ice and wind", "star light", "water heat", "orbit of the sea")


def answer_to(prompt: str, *, asked_before: int, faults: bool) -> str:
    """Return what the model says."""
    mark = _mark(prompt)
    if "Reply with one word, Yes or No" in prompt:
        return "No" if mark % 10 == 0 else "Yes"
    if "You write test queries" in prompt:
        words = sorted(set(_WORD.findall(_between(prompt, "document"))), key=_mark)[:6]
        return f"What should I make of {' and '.join(words)}, which I met in case {mark % 10**6}?"
    if "has come in to a search engine" in prompt:
        if faults and mark % 5 == 3 and not asked_before:
            return "I'm ready to help! Please provide the question."
        word = ("moon", "tide", "cell", "river", "stone", "cloud")[mark % 6]
        return f"It is about the {word} and, in case {mark % 10**6}, about this: {_between(prompt, 'query')}"
    if "Think about it in writing" in prompt:
        return f"The essential problem is this one: {_between(prompt, 'query')} Step by step, case {mark % 10**6}."
    return _reranked(prompt, mark) or _graded(prompt, mark, asked_before=asked_before, faults=faults)


def _graded(prompt: str, mark: int, *, asked_before: int, faults: bool) -> str:
    graded = []
    for number in range(1, prompt.count("<document>") + 1):
        if faults and mark % 50 == 7:
            graded.append("I would rather not say.")
        elif faults and mark % 50 == 8 and not asked_before:
            graded.append("<score>somewhere between 3 and 4</score>")
        else:
            grade = (1, 1, 1, 1, 2, 2, 3, 4, 5, 1)[(mark // 7 + number) % 10]
            graded.append(f'<score document="{number}">{grade}</score>')
    analysis = "Query analysis: it asks in essence about a cause. Document analysis: it tells of an effect. " * 8
    return analysis + "\n".join(graded)


def _reranked(prompt: str, mark: int) -> str | None:
    """Return what the model says to a prompt of rerankers, loops and enrichment; None for another prompt."""
    documents = _DOCUMENT.findall(prompt)
    if prompt.startswith("Rate from 0 to 100"):
        return f"Query analysis: a cause. First <score>3</score>, in all <score>{mark % 101}</score>"
    if prompt.startswith("Sort "):
        order = sorted(range(len(documents)), key=lambda place: _mark(documents[place]))
        named = order if mark % 3 else [*order[:3], 98, order[0]]
        return "<think>[2] > [1]?</think>" + " > ".join(f"[{place + 1}]" for place in named)
    if prompt.startswith("Compare "):
        return "\n".join(f"[{place}]: {_mark(text) % 11}" for place, text in enumerate(documents, start=1))
    if prompt.startswith("You steer a search"):
        ids = list(range(1, 1 + prompt.count('{"id"')))
        actions: list[dict[str, object]] = [
            {"action": "re-rank", "ids": ids[mark % len(ids) :]},
            {"action": "refine query", "query": f"{_PLACES[mark % 5]} and {_PLACES[mark // 5 % 5]}"},
            {"action": "stop"},
        ]
        return json.dumps(actions[mark % 8 // 3])
    return _enriched(prompt, mark) or _looked_further(prompt, mark)


def _enriched(prompt: str, mark: int) -> str | None:
    if "stands in a collection that is searched" not in prompt:
        return None
    thoughts = "It tells of the sea, and of the sky above it. " * 3
    return f"<think>{thoughts}</think>It serves those who ask what case {mark % 10**6} has to do with the sea."


def _looked_further(prompt: str, mark: int) -> str | None:
    if "are searched for that help with" in prompt:
        enough = mark % 4 == 0
        return json.dumps({"enough": True} if enough else {"missing": "more", "query": _PLACES[mark // 7 % 5]})
    return None


def _malformed(prompt: str, answer: str) -> str:
    """Return what is of no use instead of an answer: a piece of it without its end, the prompt, chatter."""
    return [answer[: len(answer) // 8], prompt[:200], "I'm ready to help! What would you like to know?"][
        _mark(prompt) % 3
    ]


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            head, gap, rest = self.buffer.partition(b"\r\n\r\n")
            if not gap:
                return
            length = re.search(rb"content-length: *(\d+)", head.lower())
            size = int(length.group(1)) if length else 0
            if len(rest) < size:
                return
            self.buffer = rest[size:]
            if head.startswith(b"GET /stats"):
                self.send(b"200 OK", json.dumps(self.server.stats()).encode())
            elif head.startswith(b"GET /go"):
                self.server.go()
                self.send(b"200 OK", b"{}")
            else:
                self.server.request(self, json.loads(rest[:size]))

    def send(self, status: bytes, body: bytes, headers: bytes = b"") -> None:
        if not self.transport.is_closing():
            self.transport.write(_HEAD % (status, len(body), headers) + body)


class Server:
    """What the model remembers of its requests."""

    def __init__(self, *, delay: float, faults: bool, answers: int | None) -> None:
        self.delay = delay
        self.faults = faults
        self.answers = answers
        self.held: list[tuple[Connection, bytes, str]] = []
        self.requests: Counter[bytes] = Counter()
        self.paid: Counter[bytes] = Counter()
        self.answered: Counter[str] = Counter()
        self.faulty = 0
        self.malformed = 0
        self.pending = 0
        self.most_pending = 0

    def stats(self) -> dict[str, int]:
        return {
            "paid": self.paid.total(),
            "prompts": len(self.paid),
            "most_for_one": max(self.paid.values(), default=0),
            "faulty": self.faulty,
            "malformed": self.malformed,
            "pending": self.pending,
            "most_pending": self.most_pending,
            "held": len(self.held),
        }

    def go(self) -> None:
        self.answers, held, self.held = None, self.held, []
        for one in held:
            self.answer(*one)

    def request(self, client: Connection, body: dict[str, object]) -> None:
        prompt = body["messages"][0]["content"]  # type: ignore[index]
        key = hashlib.blake2b(json.dumps(body).encode(), digest_size=16).digest()
        before = self.requests[key]
        self.requests[key] += 1
        if self.faults and not before and self.misbehave(client, _mark(prompt) // 11 % 20):
            self.faulty += 1
            return
        self.pending += 1
        self.most_pending = max(self.most_pending, self.pending)
        asyncio.get_running_loop().call_later(self.delay, self.answer, client, key, prompt)

    def misbehave(self, client: Connection, kind: int) -> bool:
        """Do something else than answer, for one prompt in four."""
        if kind == 0:
            client.send(b"429 Too Many Requests", b'{"error": {"message": "slow down"}}', b"Retry-After: 0\r\n")
        elif kind in {1, 2}:
            client.send(b"500 Internal Server Error", b'{"error": {"message": "out of memory"}}')
        elif kind == 3:
            client.transport.abort()
        elif kind == 4:
            client.transport.write(_HEAD % (b"200 OK", 4000, b"") + b'{"choices": [{"mess')
            client.transport.close()
        return kind <= 4

    def answer(self, client: Connection, key: bytes, prompt: str) -> None:
        if self.answers is not None and self.paid.total() >= self.answers:
            self.held.append((client, key, prompt))
            return
        self.pending -= 1
        text = answer_to(prompt, asked_before=self.paid[key], faults=self.faults)
        if (
            self.faults
            and _reranked(prompt, 0) is not None
            and not self.answered[prompt]
            and _mark(prompt) // 13 % 8 == 0
        ):
            self.malformed += 1
            text = _malformed(prompt, text)
        self.answered[prompt] += 1
        self.paid[key] += 1  # a vanished client pays all the same
        message = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": len(text) // 4}
        client.send(b"200 OK", json.dumps({"choices": [message], "usage": usage}).encode())


def _mark(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def _between(prompt: str, tag: str) -> str:
    return prompt.partition(f"<{tag}>\n")[2].partition(f"\n</{tag}>")[0]


async def _serve(delay: float, faults: bool, answers: int | None) -> None:
    server = Server(delay=delay, faults=faults, answers=answers)
    listening = await asyncio.get_running_loop().create_server(lambda: Connection(server), "127.0.0.1", 0, backlog=512)
    print(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1", flush=True)  # noqa: T201
    await listening.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--answers", type=int)
    options = parser.parse_args()
    asyncio.run(_serve(options.delay, options.faults, options.answers))
