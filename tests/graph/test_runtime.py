"""ONNX Runtime is used without its telemetry."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

ENCODE = """
import sys
from reasonembed_rag import Encoder
vectors = Encoder.from_pretrained(sys.argv[1], backend="onnx").encode_documents(["the lazy dog"])
assert "onnxruntime" in sys.modules and len(vectors) == 1
"""


def test_nothing_is_kept_or_sent_for_telemetry(tiny_model, tmp_path):
    model = str(tiny_model("bert", pooling="mean"))
    kept = {
        name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    }
    subprocess.run([sys.executable, "-c", ENCODE, model], check=True, env={**kept, "HOME": str(tmp_path)})
    assert not [path for path in tmp_path.rglob("*") if "microsoft" in str(path.relative_to(tmp_path)).lower()]


def test_nothing_else_imports_it():
    rooms = [ROOT / name for name in ("reasonembed_rag", "integrations", "training")]
    naming = [path for room in rooms for path in room.rglob("*.py") if "import onnxruntime" in path.read_text()]
    assert naming == [ROOT / "reasonembed_rag" / "graph" / "runtime.py"]
