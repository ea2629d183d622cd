"""A small language model: each word is drawn from those that followed the one before it. A generator streams: every word is sent
when it is there, as a server-sent event, and hanging up stops it.

    curl -N http://127.0.0.1:8010/v1/models/stream/predict -d '{"prompt": "the data"}'
"""

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path


def load(path: Path) -> None:
    """Called once, before the first request."""
    global follows
    follows = json.loads((path / "words.json").read_text())


def predict(prompt: str, words: int = 20, seed: int = 0, delay_ms: int = 50) -> Iterator[str]:
    draw = random.Random(seed)
    word = (prompt.lower().split() or ["the"])[-1]
    for _ in range(words):
        following = follows.get(word) or follows["."]
        word = draw.choices(list(following), weights=following.values())[0]
        time.sleep(delay_ms / 1000)  # as long as a larger model would think
        yield word
