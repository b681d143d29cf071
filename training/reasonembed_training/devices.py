"""The training devices, through accelerate: one CPU or GPU, or the processes of a launcher."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from reasonembed_rag.backbone import emulates_bfloat16, warn_of_emulation
from reasonembed_rag.errors import MissingDependencyError, TrainingError
from reasonembed_training.config import ModelConfig, Precision

__all__ = ["Machine", "check_device", "open_machine", "uses_bfloat16"]

_TRACKERS = ("tensorboard", "wandb")


@dataclass(frozen=True, slots=True)
class Machine:
    """The devices as one process sees them."""

    accelerator: Any
    bfloat16: bool
    """Whether computation is in bfloat16."""
    sharded: bool = False
    """Whether weights are sharded over the processes, which then must run the model equally often."""
    owns_group: bool = False
    """Whether the process group was created here, not by the caller."""

    @property
    def device(self) -> torch.device:
        """This process's device."""
        device: torch.device = self.accelerator.device
        return device

    @property
    def rank(self) -> int:
        """This process's number."""
        return int(self.accelerator.process_index)

    @property
    def world(self) -> int:
        """The number of processes."""
        return int(self.accelerator.num_processes)

    def prepare(self, module: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Any]:
        """Wrap model and optimiser by accelerate's configuration."""
        wrapped: tuple[nn.Module, Any] = self.accelerator.prepare(module, optimizer)
        return wrapped

    def accumulate(self, module: nn.Module) -> Callable[[], AbstractContextManager[object]]:
        """Return a context factory inside which gradients are not synchronised."""
        return partial(self.accelerator.no_sync, module)

    def close(self) -> None:
        """Finish the trackers; destroy the process group if it was created here.

        A process that exits with its group open destroys it while other threads still run, and may crash.
        """
        for tracker in self.accelerator.trackers:
            tracker.finish()
        if self.owns_group:
            self.accelerator.wait_for_everyone()
            torch.distributed.destroy_process_group()


def open_machine(config: ModelConfig, *, output: Path, trackers: tuple[str, ...] | None) -> Machine:
    """Start accelerate on the recipe's device, or on the launcher's.

    Raises TrainingError for a missing GPU, a precision that the device does not support, a kind of distribution that
    does not allow gradient caching, and a tracker that is not installed.
    """
    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
        from accelerate.utils import DistributedType
    except ImportError as error:
        raise MissingDependencyError("accelerate", "train") from error
    check_device(config.device)
    on_cpu = config.device == "cpu"
    bfloat16 = uses_bfloat16(config.precision, cpu=on_cpu or not torch.cuda.is_available())
    chosen = _trackers(trackers)
    launched = _in_group()
    # accelerate keeps the first run's device and precision for the whole process; each run must have its own.
    AcceleratorState._reset_state(reset_partial_state=not launched)  # noqa: SLF001
    accelerator = Accelerator(
        cpu=on_cpu, mixed_precision="bf16" if bfloat16 else "no", log_with=chosen or None, project_dir=str(output)
    )
    sharded = accelerator.distributed_type == DistributedType.FSDP
    if accelerator.distributed_type == DistributedType.DEEPSPEED or (sharded and not accelerator.is_fsdp2):
        raise TrainingError(
            f"accelerate is set up for {accelerator.distributed_type.value}, which does not allow gradients chunk by "
            "chunk; want data parallelism, or FSDP version 2 if the model must be sharded over devices"
        )
    if sharded and config.forward == "packed":
        raise TrainingError("model.forward is 'packed', which FSDP does not support; want auto or padded")
    return Machine(accelerator, bfloat16, sharded, owns_group=not launched and _in_group())


def _in_group() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def check_device(name: str | None) -> None:
    """Raise TrainingError for a device that this machine does not have; a GPU becomes the current one."""
    if name is None or name == "cpu":
        return
    if not name.startswith("cuda"):
        raise TrainingError(f"model.device is {name!r}; want cpu, cuda, cuda:N, or leave it out")
    if not torch.cuda.is_available():
        raise TrainingError(
            f"model.device is {name!r} and this machine has no GPU that torch can use; "
            "use a CPU recipe such as tiny-cpu, or --set model.device=cpu"
        )
    number = int(name.partition(":")[2] or 0)
    if number >= torch.cuda.device_count():
        raise TrainingError(
            f"model.device is {name!r}; this machine has cuda:0 to cuda:{torch.cuda.device_count() - 1}"
        )
    torch.cuda.set_device(number)


def uses_bfloat16(precision: Precision, *, cpu: bool) -> bool:
    """Return whether to compute in bfloat16; a CPU that only emulates it uses float32 and logs that."""
    if precision == "float32" or (precision == "auto" and cpu):
        return False
    if cpu:
        if emulates_bfloat16():
            warn_of_emulation("training computes in float32 instead of model.precision = 'bfloat16'")
            return False
        return True
    if precision == "bfloat16" and not torch.cuda.is_bf16_supported():
        raise TrainingError("model.precision is 'bfloat16', which this GPU does not support; want auto or float32")
    return bool(torch.cuda.is_bf16_supported())


def _trackers(wanted: tuple[str, ...] | None) -> list[str]:
    installed = {name for name in _TRACKERS if importlib.util.find_spec(name) is not None}
    if wanted is None:
        return sorted(installed & {"tensorboard"})
    unknown = [name for name in wanted if name not in _TRACKERS]
    if unknown:
        raise TrainingError(f"run.trackers names {unknown[0]!r}; want {' or '.join(_TRACKERS)}, or [] for none")
    missing = [name for name in wanted if name not in installed]
    if missing:
        raise TrainingError(f"run.trackers names {missing[0]!r}, which is not installed: pip install {missing[0]}")
    return list(wanted)
