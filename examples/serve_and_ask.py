"""Start `reasonembed serve`, and be its client: python examples/serve_and_ask.py guide.index "...".

One server holds the model; every program and machine asks it, with OpenAI's client, with HTTP, or as an encoder.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

try:
    import httpx
    import numpy as np
    from openai import OpenAI

    from reasonembed_rag import EmbeddingSpec, Encoder, RemoteEncoder
    from reasonembed_rag.errors import ReasonEmbedError
except ImportError as error:
    sys.exit(__doc__ if "--help" in sys.argv else f"{error}; pip install '.[all]' openai")


@contextmanager
def served(index: str) -> Iterator[str]:
    """Run a server of the default model and an index at a free port; yield its URL once it answers."""
    command = [sys.executable, "-m", "reasonembed_cli", "serve", "--model", "default", "--index", f"docs={index}"]
    with subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise SystemExit(f"the server ended with exit code {process.wait()}; what it said is above")
            yield next(word for word in line.split() if word.startswith("http"))
        finally:
            process.terminate()  # it finishes what it has taken


def main(index: str, question: str) -> None:
    """Ask for vectors as OpenAI's client does, search the index, and compare with an encoder of this process."""
    with served(index) as url:
        api = f"{url.rstrip('/').removesuffix('/v1')}/v1"
        client = OpenAI(base_url=api, api_key="unused: the server has no keys")
        answer = client.embeddings.create(model="default", input=[question], extra_body={"input_type": "query"})
        print(f"{len(answer.data[0].embedding)} numbers for {answer.usage.prompt_tokens} tokens")

        (model,) = client.models.list()
        spec = EmbeddingSpec(**model.model_dump()["spec"])
        with RemoteEncoder(api, "default", spec) as remote, Encoder.from_pretrained("default") as local:
            far, near = remote.encode_queries([question]), local.encode_queries([question])
        print(f"cosine of the server's vector and this process's: {float(np.vdot(far, near)):.5f}")

        found = httpx.post(f"{api}/search", json={"index": "docs", "query": question, "k": 3}, timeout=60)
        for hit in found.raise_for_status().json()["results"][0]["hits"]:
            print(f"{hit['score']:.3f} {hit['citation']}")


if __name__ == "__main__":
    if "--help" in sys.argv:
        print(__doc__)
        sys.exit()
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except ReasonEmbedError as error:
        sys.exit(f"error: {error}")
