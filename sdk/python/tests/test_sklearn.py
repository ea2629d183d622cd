"""Models of scikit-learn that were saved without any code."""

import pytest
from conftest import tensor

np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")
joblib = pytest.importorskip("joblib")
pytest.importorskip("sklearn")

from sklearn.cluster import KMeans  # noqa: E402
from sklearn.compose import ColumnTransformer  # noqa: E402
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor  # noqa: E402
from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: E402
from sklearn.impute import SimpleImputer  # noqa: E402
from sklearn.linear_model import LinearRegression, LogisticRegression  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler  # noqa: E402
from sklearn.svm import SVC  # noqa: E402

from decalog_worker.describe import describe  # noqa: E402
from decalog_worker.problem import Problem  # noqa: E402

RANDOM = np.random.default_rng(7)
X = RANDOM.normal(size=(60, 4))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
FRAME = pd.DataFrame({"age": RANDOM.integers(18, 80, 60), "income": np.where(Y, np.nan, X[:, 2]), "city": RANDOM.choice(["Delft", "Utrecht"], 60),
                      "size": RANDOM.choice(["S", "M"], 60), "free": RANDOM.choice(["p", "q"], 60)})  # fmt: skip


@pytest.fixture
def deploy(load, tmp_path):
    def deploy(estimator, name="model.joblib", schema=None):
        directory = tmp_path / "estimator"
        directory.mkdir(exist_ok=True)
        joblib.dump(estimator, directory / name)
        return load(directory, schema, file=name)

    return deploy


def rows_of(frame, columns):
    tensors = []
    for column in columns:
        values = frame[column["name"]].tolist()
        valid = [value is not None and value == value for value in values]
        zero = "" if column["datatype"] == "BYTES" else 0
        tensors.append(
            tensor(
                column["name"], column["datatype"], [len(values)], [v if ok else zero for v, ok in zip(values, valid)]
            )
        )
        if column.get("nullable"):
            tensors.append(tensor(column["name"] + ":valid", "BOOL", [len(values)], valid))
    return tensors


def test_mixed_columns(deploy):
    encode = ColumnTransformer([
        ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["income"]),
        ("city", OneHotEncoder(), ["city"]),
        ("size", make_pipeline(SimpleImputer(strategy="most_frequent"), OrdinalEncoder()), [3]),
        ("free", OneHotEncoder(handle_unknown="ignore"), ["free"]),
        ("rest", "passthrough", ["age"]),
    ])  # fmt: skip
    estimator = make_pipeline(encode, RandomForestClassifier(10, random_state=0)).fit(
        FRAME, np.where(Y, "stay", "leave")
    )
    loaded = deploy(estimator)
    assert loaded.form.schema == {
        "inputs": [
            {"name": "age", "datatype": "FP64", "shape": [], "booleans": True},
            {"name": "income", "datatype": "FP64", "shape": [], "booleans": True, "nullable": True},
            {"name": "city", "datatype": "BYTES", "shape": [], "categories": ["Delft", "Utrecht"]},
            {"name": "size", "datatype": "BYTES", "shape": [], "nullable": True, "categories": ["M", "S"]},
            {"name": "free", "datatype": "BYTES", "shape": []},
        ],
        "outputs": [
            {"name": "output", "datatype": "BYTES", "shape": []},
            {"name": "probability", "datatype": "FP64", "shape": [2], "labels": ["leave", "stay"]},
        ],
    }
    out = loaded.infer(*rows_of(FRAME, loaded.form.schema["inputs"]))
    assert out["output"][2] == estimator.predict(FRAME).tolist()
    assert np.allclose(np.reshape(out["probability"][2], (-1, 2)), estimator.predict_proba(FRAME))


@pytest.mark.parametrize("estimator", [
    LogisticRegression(), RandomForestClassifier(10, random_state=0), SVC(probability=True, random_state=0), make_pipeline(StandardScaler(), LogisticRegression()),
    GridSearchCV(LogisticRegression(), {"C": [1, 2]}),
])  # fmt: skip
def test_arrays_without_names(deploy, estimator):
    estimator.fit(X, Y)
    loaded = deploy(estimator, "model.pkl")
    assert loaded.form.schema["inputs"] == [{"name": "x", "datatype": "FP64", "shape": [4]}]
    assert [output["name"] for output in loaded.form.schema["outputs"]] == ["output", "probability"]
    out = loaded.infer(tensor("x", "FP64", [60, 4], X.ravel().tolist()))
    assert out["output"][0] == "INT64" and out["output"][2] == estimator.predict(X).tolist()
    assert np.allclose(np.reshape(out["probability"][2], (60, 2)), estimator.predict_proba(X))


def test_regressors_and_clusters(deploy):
    estimator = RandomForestRegressor(5, random_state=0).fit(pd.DataFrame(X, columns=list("abcd")), X[:, 0])
    loaded = deploy(estimator)
    assert [column["name"] for column in loaded.form.schema["inputs"]] == list("abcd")
    assert loaded.form.schema["outputs"] == [{"name": "output", "datatype": "FP64", "shape": []}]
    inputs = [tensor(name, "FP64", [60], X[:, at].tolist()) for at, name in enumerate("abcd")]
    assert np.allclose(loaded.infer(*inputs)["output"][2], estimator.predict(pd.DataFrame(X, columns=list("abcd"))))
    assert deploy(LinearRegression().fit(X, X[:, :2])).form.schema["outputs"] == [
        {"name": "output", "datatype": "FP64", "shape": [2]}
    ]
    assert deploy(KMeans(2, n_init=1).fit(X)).form.schema["outputs"] == [
        {"name": "output", "datatype": "INT32", "shape": []}
    ]


def test_texts(deploy):
    estimator = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(
        ["good day", "bad day", "good", "bad"], [True, False, True, False]
    )
    loaded = deploy(estimator)
    assert loaded.form.schema["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": []}]
    assert loaded.infer(tensor("text", "BYTES", [2], ["good one", "bad one"]))["output"] == ("BOOL", [2], [True, False])


def test_several_targets_fall_back_to_predict(deploy):
    estimator = RandomForestClassifier(5, random_state=0).fit(X, np.stack([Y, 1 - Y], axis=1))
    assert [output["name"] for output in deploy(estimator).form.schema["outputs"]] == ["output"]


def test_the_manifest_names_columns(deploy):
    columns = [{"name": name, "datatype": "FP64", "shape": []} for name in "abcd"]
    loaded = deploy(LogisticRegression().fit(X, Y), schema={"inputs": columns})
    assert (
        loaded.infer(*[tensor(name, "FP64", [60], X[:, at].tolist()) for at, name in enumerate("abcd")])["output"][2]
        == LogisticRegression().fit(X, Y).predict(X).tolist()
    )


def test_what_is_no_estimator(deploy):
    with pytest.raises(Problem, match="holds a dict"):
        deploy({"a": 1})


def test_describing_does_not_load(deploy, tmp_path):
    deploy(LogisticRegression().fit(X, Y))
    described = describe(str(tmp_path / "estimator"), "model.joblib", {})
    assert (
        described["schema"] is None
        and described["form"] == "sklearn"
        and "known when it is loaded" in described["notes"][0]
    )
    assert {"joblib", "sklearn"} <= set(described["imports"])
