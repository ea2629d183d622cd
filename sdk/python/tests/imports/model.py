import decalog


def predict(x: int) -> int:
    raise decalog.BadInput("no")
