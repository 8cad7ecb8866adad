"""Runs the README's curl lines as they are written, against a server on 127.0.0.1:8080."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
lines = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("curl ")]
assert len(lines) >= 4, lines
for line in lines:
    done = subprocess.run(line, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, (line, done.stderr)
    # One of them shows what a mistake is told.
    refused = "urn:maas:error" in done.stdout
    assert done.stdout and refused == ("top_k=0" in line), (line, done.stdout)

print(f"readme: {len(lines)} lines passed")
