"""Move one window, one function per phase; only the contracts are used, and no Airflow is imported.

generate -> validate -> extract (per slice) -> stage -> load -> audit -> drain; `run.run_window` chains them in one
process.  Each module's docstring describes what a crash at each of its steps leaves behind and why a rerun converges.
"""

import airflow_pipeline_provider.envelope  # noqa: F401  chooses Arrow's pool before a connector imports Arrow

__all__: list[str] = []
