"""Which packages a model needs, in the words of several tools."""

from . import At, section
from .libraries import ROW

kind = section("Packages")

SIX = "import six\n\ndef predict(x: int) -> str:\n    return six.__version__\n"
GIVES = {"output": "1.15.0"}
ASKED = {"x": 1}
HASH = "--hash=sha256:" + "0" * 64

kind("light_alone", "a pickle of LightGBM's classifier, nothing else: its opcodes say what it needs", {"light.joblib": At("light.joblib")},
     {"monthly_charge": 4.5, "calls": 3, "vip": True, "plan": "free"}, At("light.joblib"))
kind("extreme_alone", "a pickle of XGBoost's classifier, nothing else", {"extreme.joblib": At("extreme.joblib")}, ROW, At("extreme.joblib"))
kind("pickle_of_ours", "a pickle with a class of a module that is not there",
     {"scale.pkl": b"cours.scaling\nScale\n(o."}, refused=["scale.pkl needs modules", "ours", "pip freeze"])
kind("conda", "`environment.yml` of conda", {"model.py": SIX, "environment.yml": "dependencies:\n  - python>=3.8\n  - pip:\n      - six==1.15.0\n"}, ASKED, GIVES)
kind("conda_unknown", "`environment.yml` with a package that is not known on PyPI",
     {"model.py": SIX, "environment.yml": "dependencies: [gdal=3]\n"}, refused=["gdal=3", "move them into the `pip:` section of environment.yml"])
kind("pipenv", "`Pipfile`", {"model.py": SIX, "Pipfile": '[packages]\nsix = "==1.15.0"\n'}, ASKED, GIVES)
kind("poetry", "`[tool.poetry]` in `pyproject.toml`",
     {"model.py": SIX, "pyproject.toml": '[tool.poetry.dependencies]\npython = "^3.8"\nsix = "~1.15.0"\n'}, ASKED, GIVES)
kind("setup_cfg", "`setup.cfg`", {"model.py": SIX, "setup.cfg": "[options]\ninstall_requires =\n    six==1.15.0\n"}, ASKED, GIVES)
kind("editable", "`-e .` and a project in `src`",
     {"model.py": "from ours import version\n\ndef predict(x: int) -> str:\n    return version\n", "requirements.txt": "-e .\n",
      "pyproject.toml": '[project]\nname = "ours"\nversion = "1"\ndependencies = ["six==1.15.0"]\n', "src/ours/__init__.py": "from six import __version__ as version\n"},
     ASKED, GIVES)
kind("other_hash", "a hash that is not that of the package", {"model.py": SIX, "requirements.txt": f"six==1.15.0 {HASH}\n"},
     refused=["hash mismatch: no file of six==1.15.0 has a hash that requirements.txt pins"])
kind("not_required", "imports that no package of `requirements.txt` brings",
     {"model.py": "import cv2, yaml\nfrom PIL import Image\n\ndef predict(x: int) -> int:\n    return x\n", "requirements.txt": "six\n"},
     refused=["cv2 opencv-python-headless", "PIL pillow", "yaml pyyaml", "decalog check --fix"])
