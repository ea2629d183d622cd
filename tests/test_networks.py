"""A TorchScript file is served as it is, by the PyTorch of the machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import write_model

DEBIAN = Path("/usr/lib/python3/dist-packages")
HAS_TORCH = any(DEBIAN.glob(f"torch/_C.cpython-{sys.version_info.major}{sys.version_info.minor}*.so"))
#: Two inputs and two outputs, of which one is a dict's; what it answers goes to standard output.
SAVE = """
import json, sys, torch
from typing import Dict

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(7)
        self.line = torch.nn.Linear(3, 2)

    def forward(self, x, place) -> Dict[str, torch.Tensor]:
        return {"score": torch.sigmoid(self.line(x)), "place": place + 1}

network = torch.jit.script(Network().eval())
network.save(sys.argv[1])
answer = network(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([41]))
print(json.dumps(answer["score"][0].tolist()))
"""


@pytest.mark.skipif(not HAS_TORCH, reason="apt-get install python3-torch, for this Python")
def test_torchscript_is_served_as_it_is(platform, tmp_path):
    environment = f'[env]\nPYTHONPATH = "{DEBIAN}"\n'
    model = write_model(tmp_path / "script", {"requirements.txt": "", "decalog.toml": environment})
    (tmp_path / "save.py").write_text(SAVE)
    saved = subprocess.run(["/usr/bin/python3", tmp_path / "save.py", model / "net.pt"], capture_output=True, text=True, timeout=120)
    assert saved.returncode == 0, saved.stderr
    refused = platform.run("deploy", model, ok=False).err
    assert "net.pt does not tell the shape of its input `x`" in refused and "[schema] inputs" in refused, refused
    inputs = '[{ name = "x", shape = [3] }, { name = "place", datatype = "INT64", shape = [] }]'
    (model / "decalog.toml").write_text(f"{environment}[schema]\ninputs = {inputs}\n")
    platform.run("deploy", model)
    answer = platform.predict("script", {"x": [1, 2, 3], "place": 41}).json()
    assert answer["place"] == 42 and answer["score"] == pytest.approx(json.loads(saved.stdout), abs=1e-6), answer
    schema = platform.run("show", "script", "--schema").out
    assert "x: FP32[3]" in schema and "place: INT64" in schema and "score: FP32[2]" in schema, schema
