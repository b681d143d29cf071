"""The guide's tables are what plan_corpus computes."""

from __future__ import annotations

import pytest
from pages_of_docs import PAGES

from reasonembed_rag.scale import plan_corpus

QWEN = {"0.6B": (0.44e9, 1024), "4B": (3.6e9, 2560), "8B": (6.95e9, 4096)}
GPU, CPU = 400e12, 0.78 * 220e9


def planned(name, documents, *, rate, **more):
    parameters, dimension = QWEN[name]
    speed = rate / (2 * parameters)
    return plan_corpus(
        documents,
        tokens_per_document=180,
        parameters=parameters,
        dimension=dimension,
        tokens_per_second=speed,
        **more,
    )


@pytest.fixture(scope="module")
def lines():
    return PAGES["docs/guide/scale.md"].splitlines()


@pytest.mark.parametrize("name", QWEN)
def test_the_table_of_bright_is_computed(lines, name):
    gpu, cpu = (planned(name, 1_300_000, rate=rate) for rate in (GPU, CPU))
    parameters, dimension = QWEN[name]
    (line,) = [line for line in lines if line.startswith(f"| {name} | {dimension:,}")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[2:4] == [f"{GPU / (2 * parameters):,.0f}", f"{gpu.hours:.2f}"]
    assert float(cells[4].replace(",", "")) == pytest.approx(cpu.hours, rel=0.005)
    assert cells[5] == f"{gpu.float32_bytes / 1e9:.1f} GB"
    assert cells[6] == f"{gpu.float16_bytes / 1e9:.1f} GB"


@pytest.mark.parametrize("name", ["0.6B", "8B"])
def test_the_table_of_a_hundred_million_is_computed(lines, name):
    plan = planned(name, 100_000_000, rate=GPU, machines=8, price_per_hour=3.0)
    sizes = [plan.float32_bytes, plan.ivf_pq_bytes, plan.disk_ann_memory_bytes, plan.disk_ann_disk_bytes]
    float32, codes, memory, disk = (size / 1e9 for size in sizes)
    assert (
        f"| {name} | {plan.hours:.1f} | {plan.cost:,.0f} | {float32:,.0f} GB | {codes:.1f} GB | {memory:.1f} GB "
        f"| {disk:,.0f} GB |"
    ) in lines
