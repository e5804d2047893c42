"""A part of a benchmark in a process of its own, so that its seconds and its memory are its own as well."""

import json
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any


def apart(module: str, *arguments: str) -> dict[str, Any]:
    """What `python -m MODULE ARGUMENTS` prints, which is one JSON object. Raises RuntimeError where it fails."""
    ended = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"{arguments[0]} ended with {ended.returncode}: {ended.stderr.strip()[-500:]}")
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


def peak_megabytes() -> float:
    """The most memory that this process has had."""
    # Not getrusage alone: on Linux it also remembers the parent's size at the fork.
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
