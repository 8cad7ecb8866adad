"""What TorchServe's documentation does with curl, on a server with --compat torchserve.

Needs the shipped models; MAAS_URL is the server's address.
"""

import json
import os
import subprocess
from pathlib import Path

URL = os.environ.get("MAAS_URL", "http://127.0.0.1:8080")
ROOT = Path(__file__).parents[2]
BOOT = "models/fashion/1/golden/boot.png"


def curl(*arguments):
    command = ["curl", "--silent", "--show-error", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


assert json.loads(curl(f"{URL}/ping")) == {"status": "Healthy"}
for arguments in [("-T", BOOT), ("-F", f"data=@{BOOT}")]:
    scores = json.loads(curl(f"{URL}/predictions/fashion", *arguments))
    assert max(scores, key=scores.get) == "Ankle boot", scores
scores = json.loads(curl(f"{URL}/predictions/fashion/1?top_k=1", "-T", BOOT))
assert list(scores) == ["Ankle boot"], scores
heard = curl(f"{URL}/predictions/digits", "-T", "models/digits/1/golden/code.wav")
assert heard == "three eight one five", heard
models = json.loads(curl(f"{URL}/models?limit=1"))
assert len(models["models"]) == 1 and models["nextPageToken"] == "1", models
assert json.loads(curl(f"{URL}/models/fashion"))[0]["status"] == "READY"
refused = json.loads(curl(f"{URL}/predictions/nothing", "-T", BOOT))
assert refused["code"] == 404 and refused["type"] == "ModelNotFoundException", refused

print("torchserve: passed")
