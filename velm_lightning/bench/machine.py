"""The machine that a benchmark runs on: its device, its versions, and their description in words."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import torch

from velm_lightning.io.packaged import installed_version

PACKAGES = ("velm-lightning", "torch", "lightning", "transformers")


def device() -> torch.device:
    """Return the device that benchmarks run on: the GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name() -> str:
    """Return the name of the GPU, or the number of threads."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    count = torch.get_num_threads()
    return f"{count} thread{'s' * (count > 1)}"


def machine() -> dict[str, str]:
    """Return device, driver and versions."""
    properties = {"device": device_name(), "processor": _processor(), "cores": str(os.cpu_count())}
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory
        properties |= {"memory": f"{memory / 2**30:.0f} GiB", "driver": _driver(), "cuda": str(torch.version.cuda)}
    properties |= {"system": platform.system(), "python": platform.python_version()}
    return properties | {name: installed_version(name) for name in PACKAGES}


def describe(properties: dict[str, str]) -> str:
    """Return the machine in words."""
    device = f"{properties['device']} of {properties['cores']} cores ({properties['processor']})"
    if "driver" in properties:
        card = f"{properties['device']} with {properties['memory']}"
        device = f"{card}, driver {properties['driver']}, CUDA {properties['cuda']}"
    return f"{device}, Python {properties['python']}, {', '.join(f'{name} {properties[name]}' for name in PACKAGES)}"


def wait() -> None:
    """Wait until the GPU has finished."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(call: Callable[[], object], count: int, warm_up: int = 2) -> float:
    """Return the mean seconds of ``count`` calls, after ``warm_up`` calls that are not counted."""
    for _ in range(warm_up):
        call()
    wait()
    started = time.perf_counter()
    for _ in range(count):
        call()
    wait()
    return (time.perf_counter() - started) / count


def matmul_speed(dtype: torch.dtype, side: int | None = None) -> float:
    """Return the floating-point operations per second of products of large square matrices."""
    where = device()
    side = side or (8192 if where.type == "cuda" else 1024)
    a, b = (torch.randn(side, side, device=where).to(dtype) for _ in range(2))
    return 2 * side**3 / seconds(lambda: a @ b, 5)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _driver() -> str:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return "unknown"
