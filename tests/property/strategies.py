"""What property tests of time draw from: every zone, days of two centuries, durations as people write them."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from zoneinfo import available_timezones

from hypothesis import strategies as st

from airflow_pipeline_provider.core.days import transitions
from airflow_pipeline_provider.core.durations import Duration

UTC = timezone.utc
# Where clocks change at midnight, by half an hour or two hours, over midnight, or by a whole day.
ODD_ZONES = [
    "Africa/Cairo", "Africa/Monrovia", "America/Caracas", "America/Havana", "America/New_York", "America/Sao_Paulo",
    "America/St_Johns", "Antarctica/Troll", "Asia/Beirut", "Asia/Pyongyang", "Atlantic/Azores",
    "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Enderbury", "Pacific/Kwajalein", "UTC",
]  # fmt: skip

# "localtime" is whatever the machine says, so a failure there could not be repeated elsewhere
zones = st.sampled_from(sorted(available_timezones() - {"localtime"})) | st.sampled_from(ODD_ZONES)
days = st.dates(date(1900, 1, 1), date(2100, 12, 31))
instants = st.datetimes(datetime(1900, 1, 1), datetime(2100, 12, 31), timezones=st.just(UTC))


@st.composite
def zones_and_days(draw: st.DrawFn) -> tuple[str, date]:
    """A zone and a day; half of the days lie within two days of one of the zone's clock changes."""
    zone, day = draw(zones), draw(days)
    if draw(st.booleans()):
        around = datetime(day.year, day.month, day.day, tzinfo=UTC)
        changes = transitions(zone, around - timedelta(days=400), around + timedelta(days=400))
        if changes:
            day = draw(st.sampled_from(changes)).date() + timedelta(days=draw(st.integers(-2, 2)))
    return zone, day


granularities = st.builds(Duration, st.just(0), st.integers(61, 200_000)) | st.builds(
    Duration, st.integers(0, 3), st.sampled_from([60, 600, 3_600, 5_400, 7_200, 10_800, 86_400])
)
# For what costs more a window: at most some fifty of them a day.
coarse_granularities = granularities.filter(lambda size: size.days or size.seconds >= 1_800)
