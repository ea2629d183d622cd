"""Counts which word follows which in the descriptions that scikit-learn bundles with its data sets, and writes `words.json`.

    pip install -r requirements-train.txt && python train.py
"""

import json
import re
from collections import Counter, defaultdict
from pathlib import Path

from sklearn import datasets

HERE = Path(__file__).resolve().parent
LOADERS = [datasets.load_iris, datasets.load_wine, datasets.load_breast_cancer, datasets.load_diabetes, datasets.load_digits]
FOLLOWERS_MAX = 5


def main() -> None:
    follows: dict[str, Counter] = defaultdict(Counter)
    for loader in LOADERS:
        words = re.findall(r"[a-z]+(?:'[a-z]+)?|\.", loader().DESCR.lower())
        for word, following in zip(words, words[1:]):
            if (word, following) != (".", "."):
                follows[word][following] += 1
    kept = {word: dict(counts.most_common(FOLLOWERS_MAX)) for word, counts in sorted(follows.items())}
    (HERE / "words.json").write_text(json.dumps(kept, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
