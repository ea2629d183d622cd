"""Processes: what becomes of the platform when a worker, a supervisor or the machine does not do its part."""

import os
import signal
import threading

from conftest import wait_for, write_model

LENGTH = "def predict(text: str) -> int:\n    return len(text)\n"


def test_a_worker_that_dies_while_a_large_request_is_written_to_it_costs_only_itself(platform, tmp_path):
    platform.run("deploy", write_model(tmp_path / "m", {"model.py": LENGTH}))
    text = "x" * (40 << 20)
    for _ in range(2):
        wait_for(lambda: platform.predict("m", {"text": "x"}).status == 200, "a replica")
        worker = platform.pids("m")[0]
        # It reads no more, so that most of the request is still on its way when it ends.
        os.kill(worker, signal.SIGSTOP)
        answers = []
        caller = threading.Thread(target=lambda: answers.append(platform.predict("m", {"text": text})))
        caller.start()
        wait_for(lambda: in_flight(platform, "m"), "the request is being written")
        os.kill(worker, signal.SIGKILL)
        caller.join()
        assert platform.process.poll() is None, "the platform goes on"
        assert answers[0].status == 200 and answers[0].json() == {"output": len(text)}, answers[0].body


def in_flight(platform, model):
    """Batches at a model's replicas, by the metrics."""
    lines = platform.get("/metrics").body.decode().splitlines()
    values = [line for line in lines if "in_flight" in line and f'"{model}"' in line and not line.startswith("#")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in values)
