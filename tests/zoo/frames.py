"""Types from data frames: what a fitted model tells of its columns is the schema."""

from . import At, section
from .libraries import ROW, SHARED

kind = section("Types from data frames")


def without(row, *names):
    return {name: value for name, value in row.items() if name not in names}


#: LightGBM keeps names with _ where they had blanks.
LIGHT_ROW = {"monthly_charge": 4.5, **without(ROW, "monthly charge")}

kind("pipeline", "a scikit-learn pipeline fitted on a frame, `pipeline.joblib`, nothing else",
     {"pipeline.joblib": At("pipeline.joblib")}, ROW, At("pipeline.joblib"),
     schema=["plan: one of 3", '"free", "pro", "team"', 'probability[0] is of "leave", probability[1] is of "stay"'])
kind("pipeline_number_for_a_truth", "the same, asked with 1 for the boolean column",
     {"pipeline.joblib": At("pipeline.joblib")}, {**ROW, "vip": 1}, At("pipeline.joblib"))
kind("pipeline_other_category", "the same, asked with a category that it has not seen",
     {"pipeline.joblib": At("pipeline.joblib")}, {**ROW, "plan": "gold"}, refused='expected one of "free", "pro", "team"', by="predict")
kind("pipeline_text_for_a_number", "the same, asked with text in a column of numbers",
     {"pipeline.joblib": At("pipeline.joblib")}, {**ROW, "calls": "three"}, refused="calls  expected FP64", by="predict")
kind("booleans", "a pipeline that encodes a boolean column", {"booleans.joblib": At("booleans.joblib")},
     {"vip": True}, At("booleans.joblib"), schema=["vip: one of 2", "false, true"])
kind("trees", "gradient boosting of scikit-learn on pandas categories", {"trees.joblib": At("trees.joblib")},
     ROW, At("trees.joblib"), schema=["plan: BYTES"])
kind("matrix", "a forest fitted on an array without names, `matrix.pkl`", {"matrix.pkl": At("matrix.pkl"), **SHARED},
     {"x": [4.5, 3]}, At("matrix.pkl"), schema=["x: FP64[2]"])
kind("matrix_named", "the same, with names for its columns in decalog.toml",
     {"matrix.pkl": At("matrix.pkl"), **SHARED, "decalog.toml": '[schema]\ninputs = [{ name = "charge", datatype = "FP64", shape = [] }, '
      '{ name = "calls", datatype = "INT64", shape = [] }]\n'},
     {"charge": 4.5, "calls": 3}, At("matrix.pkl"), schema=["charge: FP64", "calls: INT64"])
kind("words", "a text classifier: a vectorizer and a regression",
     {"words.joblib": At("words.joblib"), **SHARED},
     {"text": "good"}, At("words.joblib"))
kind("light_pickled", "LightGBM's classifier fitted on pandas categories, saved with joblib",
     {"light.joblib": At("light.joblib"), **SHARED}, LIGHT_ROW, At("light.joblib"), schema=["plan: BYTES?", "monthly_charge: FP64?"])
kind("light_full_names", "the same, with the name that the column had before LightGBM replaced its blank",
     {"light.joblib": At("light.joblib"), **SHARED, "decalog.toml": '[schema]\ninputs = [{ name = "monthly charge" }]\n'},
     ROW, At("light.joblib"), schema=["monthly charge: FP64?"])
kind("light_missing", "the same, asked without two of its columns: LightGBM takes missing values",
     {"light.joblib": At("light.joblib"), **SHARED}, without(LIGHT_ROW, "calls", "plan"), {"output": ..., "probability": ...})
kind("extreme_pickled", "XGBoost's classifier fitted on booleans, integers and categories, saved with joblib",
     {"extreme.joblib": At("extreme.joblib"), **SHARED}, ROW, At("extreme.joblib"),
     schema=["vip: BOOL", "calls: INT64?", "plan: one of 3", "probability[1] is of 1"])
kind("extreme_missing", "the same, asked without an integer and a category: XGBoost takes missing values",
     {"extreme.joblib": At("extreme.joblib"), **SHARED}, without(ROW, "calls", "plan"), {"output": ..., "probability": ...})
kind("extreme_other_category", "the same, asked with a category that it has not seen",
     {"extreme.joblib": At("extreme.joblib"), **SHARED}, {**ROW, "plan": "gold"}, refused='expected one of "free"', by="predict")
