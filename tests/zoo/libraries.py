"""The packages that most of the zoo shares, so that one environment is built for them."""

REQUIREMENTS = "joblib==1.5.3\nlightgbm==4.7.0\npandas<4\npydantic==2.14.4\nscikit-learn==1.9.1\nxgboost-cpu==3.2.0\n"
SHARED = {"requirements.txt": REQUIREMENTS}
#: What `saved.py` asks the libraries themselves.
ROW = {"monthly charge": 4.5, "calls": 3, "vip": True, "plan": "free"}
