"""Stories of docs/why.md on real data: flights that left New York in 2013, by a clock that the test sets.

A retrained version that is worse, a release that is innocent, and the month whose data made a model worse. With -s it prints what the
page shows.
"""

import http.client
import json

import joblib
import pandas
import pytest
from conftest import write_model
from test_walkthroughs import TICKET, classifier, flights
from test_why import BUCKET_S, world_of

pytestmark = pytest.mark.alone

#: Buckets of 5 s before a release, from it to the fault, and after that.
BEFORE, BETWEEN, AFTER = 280, 40, 60
#: Requests of each bucket.
REQUESTS = 5
TRUTH = '[truth]\noutput = "probability[1]"\ncolumn = "late"\n'


class Airport:
    """A model of late flights, which one caller asks about flights from March on, in any order."""

    def __init__(self, fresh, directory):
        self.world = world_of(fresh, directory, 1)
        self.run, self.directory = self.world.run, directory
        self.table = flights()
        self.connection = http.client.HTTPConnection(self.world.address, timeout=60)
        later = self.table[self.table.month > 2].sample(frac=1, random_state=1)
        self.later = later[[*TICKET, "late"]].to_dict("records")
        self.told = []

    def write(self, **files):
        """A version that learned from the flights of these files."""
        for name, rows in files.items():
            rows[[*TICKET, "late"]].to_csv(self.directory / f"{name}.csv", index=False)
        names = ", ".join(f'"../{name}.csv"' for name in files)
        model = write_model(self.directory / "late", {"decalog.toml": f"[data]\ntrain = [{names}]\n\n{TRUTH}"})
        rows = pandas.concat(files.values())
        joblib.dump(classifier(["carrier", "origin"], TICKET, rows, rows.late), model / "late.joblib")
        return model

    def deploy(self, **files):
        self.run("deploy", self.write(**files))

    def ask(self, buckets, change=lambda row: row):
        """So many times 5 s of traffic."""
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.world.tokens['desk']}"}
        for _ in range(buckets):
            self.world.now_s += BUCKET_S
            self.world.set_clock()
            for _ in range(REQUESTS):
                flight = self.later.pop()
                late = flight.pop("late")
                self.connection.request("POST", "/v1/models/late/predict", json.dumps(change(flight)), headers)
                answer = self.connection.getresponse()
                assert answer.status == 200, answer.read()
                answer.read()
                self.told.append((answer.headers["decalog-request-id"], int(late)))

    def show(self, *arguments):
        print(f"\n$ decalog {' '.join(arguments)}\n{self.run(*arguments).out}")
        return self.run(*arguments, "--json").json()


def test_a_release_that_is_innocent_is_ruled_out(fresh, tmp_path):
    airport = Airport(fresh, tmp_path)
    winter = airport.table[airport.table.month <= 2]
    airport.deploy(winter=winter)
    airport.ask(BEFORE)
    # As good as the one before it; …
    airport.deploy(sample=winter.sample(frac=0.9, random_state=1))
    airport.ask(BETWEEN)
    # … and minutes later the distance comes in kilometres.
    airport.ask(AFTER, lambda row: {**row, "distance": row["distance"] * 1.609})
    answer = airport.show("why", "late")
    first = answer["causes"][0]
    assert (first["kind"], first["reference"]["name"]) == ("column", "distance"), answer
    assert not [cause for cause in answer["causes"] if cause["kind"] == "version"], answer


def test_a_retrained_version_that_is_worse_is_told_on_the_same_flights(fresh, tmp_path):
    airport = Airport(fresh, tmp_path)
    winter = airport.table[airport.table.month <= 2]
    airport.deploy(winter=winter)
    airport.ask(80)
    # It learned from two days of a blizzard, and a flight of each carrier.
    blizzard = winter[winter.date.isin(pandas.to_datetime(["2013-02-08", "2013-02-11"]))]
    airport.deploy(blizzard=pandas.concat([blizzard, winter.drop_duplicates("carrier")]))
    airport.ask(20)
    truth = tmp_path / "truth.csv"
    truth.write_text("\n".join(["id,row,truth", *(f"{one},0,{late}" for one, late in airport.told)]) + "\n")
    airport.run("feedback", "late", truth)
    found = airport.show("diff", "late@v1", "late@v2", "--replay", "500")
    accuracy = next(one for one in found["replay"]["quality"] if one["metric"] == "accuracy")
    assert accuracy["difference"]["high"] < -0.05 and accuracy["mcnemar"]["p"] < 0.001, accuracy


def test_the_month_whose_data_made_it_worse_is_found(fresh, tmp_path):
    airport = Airport(fresh, tmp_path)
    table = airport.table
    months = {f"2013-{month:02}": table[table.month == month].sample(5_000, random_state=0) for month in range(1, 9)}
    # In July the column said who was on time.
    months["2013-07"] = months["2013-07"].assign(late=~months["2013-07"].late)
    # Each month a version learns from the last two.
    names = list(months)
    for older, newer in zip(names, names[1:]):
        airport.deploy(**{older: months[older], newer: months[newer]})
    autumn = table[table.month >= 10].sample(4_000, random_state=0)
    autumn[[*TICKET, "late"]].to_csv(tmp_path / "autumn.csv", index=False)
    asked = ("--good", "v1", "--bad", "v7", "--metric", "brier", "--data", str(tmp_path / "autumn.csv"), "--truth", "late")
    found = airport.show("bisect", "late", *asked)
    assert (found["first_bad"], found["last_good"], len(found["tries"])) == ("v6", "v5", 3), found
    data = {change["name"]: (change["before"], change["after"]) for change in found["difference_to_last_good"]["data"]}
    assert set(data) == {"../2013-05.csv", "../2013-07.csv"} and data["../2013-07.csv"][0] is None, data
