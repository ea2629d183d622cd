"""The two walk-throughs of docs/walkthroughs.md on real data: the days of the data are days of the server's clock.

Flights: who arrives late changes, what is asked does not; the truth says it. Loans: what is asked changes, and how good the answers
are hardly; a notice says it. With -s it prints what the page shows.
"""

import csv
import datetime
import os
import time
from pathlib import Path

import joblib
import pandas
import pytest
from conftest import wait_for, write_model
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from test_clock import LIBRARY

DATA = Path(os.environ.get("DECALOG_TEST_DATA", Path.home() / ".cache/decalog/data"))
#: All is kept for as long as the data last.
ALL = ("--records-per-s", "1000000", "--records-days", "400")
#: The detectors look once a second, by a clock that is not faked.
LOOK_S = 1.2
#: Alarms by values that come in.
BY_INPUTS = {"inputs", "missing", "unseen", "out_of_range"}


class Replay:
    """A server whose clock the data set, with a model that is asked, and told the truth later."""

    def __init__(self, fresh, directory, model):
        self.model, self.directory, self.clock = model, directory, directory / "clock"
        self.clock.write_text("+0")
        self.variables = {
            "LD_PRELOAD": str(LIBRARY), "FAKETIME_TIMESTAMP_FILE": str(self.clock), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }  # fmt: skip
        prefix = ["env", *(f"{name}={value}" for name, value in self.variables.items())]
        self.platform = fresh(prefix=prefix, arguments=ALL).start()
        self.waiting, self.asked = [], 0

    def deploy(self, estimator, train, truth):
        """A pipeline of scikit-learn without a line of code, with what it was trained on as the reference."""
        manifest = f'[data]\nreference = "../train.csv"\n\n[truth]\noutput = "probability[1]"\ncolumn = "{truth}"\n'
        model = write_model(self.directory / self.model, {"decalog.toml": manifest})
        joblib.dump(estimator, model / f"{self.model}.joblib")
        train.to_csv(self.directory / "train.csv", index=False)
        self.platform.run("deploy", model)

    def at(self, moment):
        """Sets the clock."""
        self.clock.write_text(f"{moment.replace(tzinfo=datetime.timezone.utc).timestamp() - time.time():+.0f}")

    def ask(self, rows, truth):
        """One request with many rows; what is true of them is told later."""
        answer = self.platform.predict(self.model, {"rows": rows})
        assert answer.status == 200, answer.body
        one = answer.headers["decalog-request-id"]
        self.waiting += [(one, row, true) for row, true in enumerate(truth)]
        self.asked += len(rows)

    def look(self):
        """Lets the detectors look at what came."""
        time.sleep(LOOK_S)

    def tell(self, name):
        """Sends the truth of all that was asked so far."""
        path = self.directory / "truth.csv"
        with open(path, "w", newline="") as file:
            csv.writer(file).writerows([("id", "row", name), *self.waiting])
        self.waiting = []
        return self.run("feedback", self.model, path)

    def run(self, *arguments):
        """A verb, at the time that the server has."""
        return self.platform.run(*arguments, env={**self.variables, "COLUMNS": "100"})

    def show(self, *arguments):
        """What the page shows."""
        print(f"\n$ decalog {' '.join(map(str, arguments))}\n{self.run(*arguments).out}")

    def joined(self, since="400d"):
        """Waits until all truth is joined; the windows by day."""
        # A query brings what was just asked into files.
        self.run("records", self.model, "--since", "1h")

        def all_known():
            windows = self.run("quality", self.model, "--since", since, "--by", "day", "--json").json()["windows"]
            return sum(window["known"] for window in windows) == self.asked and windows

        return wait_for(all_known, "all truth is joined", 1_500)

    def alarms(self):
        """Those of the model; the disk here may have its own."""
        listed = self.run("alarms", self.model, "--all", "--json").json()
        return listed["open"] + listed["resolved"]


def classifier(texts, columns, train, truth):
    """Boosted trees over columns of which some are texts."""
    encode = make_column_transformer((OrdinalEncoder(), texts), remainder="passthrough", verbose_feature_names_out=False)
    trees = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=15, categorical_features=list(range(len(texts))), random_state=0)
    return make_pipeline(encode, trees).fit(train[columns], truth)


#: What is on the ticket. Neither the month nor the weather: the former is never what it was in training, the latter not known when
#: one books.
TICKET = ["carrier", "origin", "distance", "hour", "weekday"]


def flights():
    table = pandas.read_csv(DATA / "flights.csv.zip").dropna(subset=["arr_delay"])
    table["date"] = pandas.to_datetime(table[["year", "month", "day"]])
    table["weekday"] = table["date"].dt.day_of_week
    table["late"] = table["arr_delay"] > 15
    return table


def day_of(window):
    return datetime.datetime.fromtimestamp(window["from_ms"] / 1_000, datetime.timezone.utc).date().isoformat()


def mean_of(windows, metric, first="0", last="9"):
    """The mean of a number over the windows of some days, each by its truths."""
    chosen = [window for window in windows if first <= day_of(window) <= last]
    value = lambda window: next(one["value"] for one in window["numbers"] if one["metric"] == metric)
    return sum(value(window) * window["known"] for window in chosen) / sum(window["known"] for window in chosen)


def test_flights_arrive_late_for_reasons_that_no_input_has(fresh, tmp_path):
    table = flights()
    train = table[table.month <= 2]
    model = classifier(["carrier", "origin"], TICKET, train, train.late)
    replay = Replay(fresh, tmp_path, "late")
    replay.deploy(model, train[TICKET], "late")
    # The fortnight that says what is usual, and the days of December that are told; all days between would take an hour.
    is_between = (table.date > "2013-03-14") & (table.date < "2013-12-01") & ("DECALOG_WALKTHROUGH_ALL" not in os.environ)
    later = table[(table.month > 2) & (table.date <= "2013-12-10") & ~is_between]
    for number, (day, of_day) in enumerate(later.groupby("date")):
        for hour, of_hour in of_day.groupby("hour"):
            replay.at(day + pandas.Timedelta(hours=hour, minutes=5))
            replay.ask(of_hour[TICKET].to_dict("records"), of_hour.late.astype(int))
        replay.look()
        if number in (0, 13):
            replay.tell("late")
            replay.joined()
    replay.show("drift", "late")
    replay.at(day + pandas.Timedelta(hours=24, minutes=5))
    replay.tell("late")
    windows = replay.joined()
    (alarm,) = wait_for(lambda: [one for one in replay.alarms() if one["kind"] == "quality"], "an alarm by the truth", 60)
    replay.show("alarms")
    replay.show("quality", "late", "--since", "11d", "--by", "day")
    assert (alarm["severity"], alarm["status"]) == ("alert", "open") and "of predictions are wrong" in alarm["what"], alarm
    since = datetime.datetime.fromtimestamp(alarm["since_ms"] / 1_000, datetime.timezone.utc).isoformat()
    assert "2013-12-05" < since < "2013-12-10T12", since
    # It ranks flights no better than it did, and far more of them are late.
    trained = roc_auc_score(train.late, model.predict_proba(train[TICKET])[:, 1])
    print(f"AUC {trained:.3f} in training, then", *(f"{day_of(window)} {mean_of([window], 'auc'):.3f}" for window in windows))
    assert mean_of(windows, "auc", "2013-12") < mean_of(windows, "auc", "0", "2013-03-14") - 0.03 < trained - 0.03
    assert mean_of(windows, "accuracy", "2013-12") < mean_of(windows, "accuracy", "0", "2013-03-14") - 0.05
    assert {one["kind"] for one in replay.alarms()}.isdisjoint(BY_INPUTS), replay.alarms()


#: The bank asks for some days' applications at once.
BATCH_DAYS = 4
APPLICATION = ["salary_range", "size_of_downpayment", "car_value", "debt_to_income_ratio", "loan_length", "repaid_loan_on_prev_car", "driver_tenure"]
#: From then on cars cost twice as much.
SHIFT = "2019-03-31"


def test_loans_are_of_other_people_and_hardly_judged_worse(fresh, tmp_path):
    train, later = (pandas.read_csv(DATA / f"synthetic_car_loan_{name}.csv", parse_dates=["timestamp"]) for name in ("reference", "analysis"))
    later = later.merge(pandas.read_csv(DATA / "synthetic_car_loan_analysis_target.csv"), on="id")
    for table in (train, later):
        table["repaid_loan_on_prev_car"] = table["repaid_loan_on_prev_car"].astype(float)
    days = (later.timestamp.dt.normalize() - later.timestamp.dt.normalize().min()).dt.days
    model = classifier(APPLICATION[:2], APPLICATION, train, train.repaid)
    replay = Replay(fresh, tmp_path, "loan")
    replay.deploy(model, train[APPLICATION], "repaid")
    for number, (_, batch) in enumerate(later.groupby(days // BATCH_DAYS)):
        replay.at(batch.timestamp.max())
        replay.ask(batch[APPLICATION].to_dict("records"), batch.repaid)
        replay.look()
        if number % 8 == 7:
            # Loans are paid back, or not, some weeks later.
            replay.at(batch.timestamp.max() + pandas.Timedelta(hours=20))
            replay.tell("repaid")
    replay.show("alarms")
    replay.show("drift", "loan")
    replay.show("drift", "loan", "--column", "car_value")
    replay.at(batch.timestamp.max() + pandas.Timedelta(hours=20))
    replay.tell("repaid")
    windows = replay.joined()
    for metric in ("accuracy", "auc"):
        print(metric, "before and after", mean_of(windows, metric, "0", "2019-03-29"), mean_of(windows, metric, "2019-04-03"))
    alarms = {one["kind"]: one for one in replay.alarms()}
    notice = alarms["inputs"]
    assert (notice["severity"], notice["status"]) == ("notice", "open") and "car_value" in notice["columns"], notice
    since = datetime.datetime.fromtimestamp(notice["since_ms"] / 1_000, datetime.timezone.utc)
    assert abs((since - datetime.datetime.fromisoformat(f"{SHIFT}T00:00+00:00")).days) < 8, since
    assert {one["severity"] for one in alarms.values()} == {"notice"}, alarms
    # Half as many mistakes again, of a model that makes few: too little to be sure of in these months.
    before, after = mean_of(windows, "auc", "0", "2019-03-29"), mean_of(windows, "auc", "2019-04-03")
    assert 0.004 < before - after < 0.02, (before, after)


def test_without_truth_nothing_is_said_of_quality(fresh, tmp_path):
    table = flights()
    train, later = table[table.month <= 2], table[table.month == 3]
    model = classifier(["carrier", "origin"], TICKET, train, train.late)
    replay = Replay(fresh, tmp_path, "late")
    replay.deploy(model, train[TICKET], "late")
    for day, of_day in later.groupby("date"):
        replay.at(day + pandas.Timedelta(hours=12))
        # The second half of the month is the same flight again and again, which is surely late.
        of_day = of_day if day.day <= 15 else of_day.tail(1).loc[[of_day.index[-1]] * 200]
        replay.ask(of_day[TICKET].to_dict("records"), of_day.late.astype(int))
        replay.look()
    windows = replay.run("quality", "late", "--since", "60d", "--json").json()["windows"]
    assert not any(window["known"] or window["numbers"] or window["estimates"] for window in windows), windows
    assert {one["kind"] for one in replay.alarms()}.isdisjoint({"quality", "estimated_quality"}), replay.alarms()
    # What came in is told nevertheless.
    assert "inputs" in {one["kind"] for one in replay.alarms()}
