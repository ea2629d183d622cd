"""Makes the files that libraries save, and asks each library for what it answers to the row that the zoo asks.

    python tests/zoo/saved.py DIRECTORY

It runs with the packages of tests/requirements-zoo.txt. `answers.json` has the answers by the name of the file.
"""

import json
import os
import pickle
import sys
import warnings
from pathlib import Path

os.environ["KERAS_BACKEND"] = "numpy"

import catboost
import joblib
import keras
import lightgbm
import numpy as np
import pandas as pd
import skops.io
import xgboost
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

ROWS = 400
ROW = {"monthly charge": 4.5, "calls": 3, "vip": True, "plan": "free"}
PLANS = ["free", "pro", "team"]


def data():
    random = np.random.default_rng(11)
    frame = pd.DataFrame(
        {
            "monthly charge": random.uniform(1, 9, ROWS),
            "calls": random.integers(0, 9, ROWS),
            "vip": random.integers(0, 2, ROWS).astype(bool),
            "plan": pd.Categorical(random.choice(PLANS, ROWS), categories=PLANS),
        }
    )
    leaves = (frame["monthly charge"] > 5) ^ (frame["plan"] == "pro") ^ frame["vip"]
    return frame, np.where(leaves, "leave", "stay")


def answer(model, frame):
    """What a classifier says of the first row."""
    return {"output": plain(model.predict(frame).ravel()[0]), "probability": plain(model.predict_proba(frame)[0])}


def plain(value):
    return value.tolist() if hasattr(value, "tolist") else value


def main(directory):
    directory.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    frame, label = data()
    number = (label == "leave").astype(int)
    texts = frame.assign(plan=frame["plan"].astype(str))
    asked = pd.DataFrame([ROW])
    with_categories = asked.assign(plan=pd.Categorical(asked["plan"], categories=PLANS))
    answers = {}

    def keep(name, said, save):
        save(str(directory / name))
        answers[name] = said

    def dump(model):
        return lambda path: joblib.dump(model, path)

    first = make_column_transformer((OneHotEncoder(), ["plan"]), remainder="passthrough")
    pipeline = make_pipeline(first, LogisticRegression(max_iter=1000)).fit(texts, label)
    keep("pipeline.joblib", answer(pipeline, asked), dump(pipeline))
    keep("pipeline.skops", answer(pipeline, asked), lambda path: skops.io.dump(pipeline, path))
    booleans = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(frame[["vip"]], label)
    keep("booleans.joblib", answer(booleans, asked[["vip"]]), dump(booleans))
    trees = HistGradientBoostingClassifier(max_iter=5, categorical_features="from_dtype").fit(frame, label)
    keep("trees.joblib", answer(trees, with_categories), dump(trees))
    matrix = texts[["monthly charge", "calls"]].to_numpy()
    forest = RandomForestClassifier(5, random_state=0).fit(matrix, label)
    keep("matrix.pkl", answer(forest, [[4.5, 3]]), dump(forest))
    words = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["good fine", "bad poor"] * 9, ["up", "down"] * 9)
    keep("words.joblib", answer(words, ["good"]), dump(words))
    scaled = make_pipeline(StandardScaler(), LinearRegression()).fit(frame[["calls"]], frame["monthly charge"])
    keep("line.joblib", {"output": float(scaled.predict(asked[["calls"]])[0])}, dump(scaled))

    light = lightgbm.LGBMClassifier(n_estimators=9, verbose=-1, num_threads=1).fit(frame, label)
    keep("light.joblib", answer(light, with_categories), dump(light))
    keep("light.txt", {"output": float(light.booster_.predict(with_categories)[0])}, light.booster_.save_model)

    extreme = xgboost.XGBClassifier(n_estimators=9, enable_categorical=True).fit(frame, number)
    keep("extreme.joblib", answer(extreme, with_categories), dump(extreme))
    matrix = xgboost.DMatrix(with_categories, enable_categorical=True)
    said = {"output": float(extreme.get_booster().predict(matrix)[0])}
    for name in ("extreme.json", "extreme.ubj"):
        keep(name, said, extreme.save_model)

    cats = catboost.CatBoostClassifier(iterations=9, verbose=0, thread_count=1, cat_features=["plan"], allow_writing_files=False)
    cats.fit(texts, label)
    keep("cats.cbm", answer(cats, asked), cats.save_model)

    network = keras_network()
    said = network({"age": np.array([3.0], "float32"), "place": np.array([[1, 2]], "int32")})
    keep("net.keras", {"output": plain(said[0])}, network.save)

    # As a script does that saves what it has defined itself.
    Scale.__module__ = "__main__"
    sys.modules["__main__"].Scale = Scale
    keep("scale.pkl", {"output": 21.0}, lambda path: Path(path).write_bytes(pickle.dumps(Scale(2.0))))
    (directory / "answers.json").write_text(json.dumps(answers))


def keras_network():
    """A network of two inputs, whose weights are written out."""
    age, place = keras.Input((), name="age", dtype="float32"), keras.Input((2,), name="place", dtype="int32")
    known = keras.layers.Flatten()(keras.layers.Embedding(4, 2, name="places")(place))
    joined = keras.layers.Concatenate()([keras.layers.Reshape((1,))(age), known])
    network = keras.Model({"age": age, "place": place}, keras.layers.Dense(2, activation="sigmoid", name="score")(joined))
    network.get_layer("places").set_weights([np.linspace(-1, 1, 8).reshape(4, 2)])
    network.get_layer("score").set_weights([np.linspace(-0.5, 0.5, 10).reshape(5, 2), np.array([0.1, -0.1])])
    return network


class Scale:
    """What a training script may define for itself."""

    def __init__(self, factor):
        self.factor = factor

    def predict(self, values):
        return np.asarray(values) * self.factor


if __name__ == "__main__":
    main(Path(sys.argv[1]))
