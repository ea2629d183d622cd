"""Values as text: times of RFC 3339."""

import datetime

import pytest

from decalog_worker.text import parse_timestamp


def test_timestamps_of_all_forms():
    utc = datetime.timezone.utc
    assert parse_timestamp("2026-11-23T08:00:00Z") == datetime.datetime(2026, 11, 23, 8, tzinfo=utc)
    assert parse_timestamp("2026-11-23t08:00:00.1234567-01:30") == datetime.datetime(
        2026, 11, 23, 9, 30, 0, 123456, tzinfo=utc
    )
    for wrong in ("2026-11-23", "2026-13-23T08:00:00Z", "2026-11-23T08:00:00"):
        with pytest.raises(ValueError):
            parse_timestamp(wrong)
