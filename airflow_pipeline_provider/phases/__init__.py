"""Move one window, one function per phase; only the contracts are used, and no Airflow is imported.

generate -> validate -> extract (per slice) -> stage -> load -> audit -> drain; `run.run_window` chains them in one
process.  Each module's docstring describes what a crash at each of its steps leaves behind and why a rerun converges.
"""

import os

# Arrow reads this once, when it is imported, which only phases do. Its own choice keeps what threads have freed:
# 50 MB more at the peak of an extraction, and no faster.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")

__all__: list[str] = []
