"""Where the benchmark keeps what it makes: nothing of it lies in the repository, except the results."""

import os
from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent
REPOSITORY = BENCH.parent
CACHE = Path(os.environ.get("DECALOG_CACHE", Path.home() / ".cache" / "decalog"))
TOOLS = CACHE / "tools"
WORK = CACHE / "bench" / "work"
VENVS = CACHE / "bench" / "venvs"
RUN = CACHE / "bench" / "run"
