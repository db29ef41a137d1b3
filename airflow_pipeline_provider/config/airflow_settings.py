"""Read Airflow's settings without importing Airflow: from the environment, then from `airflow.cfg`.

Only plain values are read, not Airflow's `_CMD` and `_SECRET` variants, which are for secrets.
"""

from __future__ import annotations

import configparser
import os
from functools import lru_cache
from pathlib import Path

from airflow_pipeline_provider.exceptions import ConfigError


def airflow_home() -> Path:
    """Return Airflow's home folder: AIRFLOW_HOME, by default ~/airflow."""
    return expand_path(os.environ.get("AIRFLOW_HOME") or "~/airflow")


def expand_path(text: str) -> Path:
    """Replace environment variables and `~` in a path of Airflow's configuration."""
    return Path(os.path.expandvars(text)).expanduser()


def airflow_setting(section: str, key: str) -> str:
    """Return the value of `[section] key`, "" if it is not set.

    Raise ConfigError if `airflow.cfg` cannot be read.
    """
    given = os.environ.get(f"AIRFLOW__{section.upper()}__{key.upper()}")
    if given is not None:
        return given.strip()
    file = expand_path(os.environ.get("AIRFLOW_CONFIG") or str(airflow_home() / "airflow.cfg"))
    try:
        stat = file.stat()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigError(f"Airflow's configuration {file} cannot be read: {error.strerror}") from None
    parser = _read_airflow_cfg(file, stat.st_mtime_ns, stat.st_size)
    return parser.get(section, key, fallback="").strip().replace("{AIRFLOW_HOME}", str(airflow_home()))


@lru_cache(maxsize=4)
def _read_airflow_cfg(file: Path, _modified: int, _size: int) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        with file.open(encoding="utf-8") as lines:
            parser.read_file(lines)
    except (configparser.Error, UnicodeDecodeError, OSError) as error:
        raise ConfigError(
            f"Airflow's configuration {file} cannot be read ({error.__class__.__name__}): correct the file"
        ) from None
    return parser
