"""Asks a reward server as Flow-Factory does; needs nothing but Python.

    python docs/clients/flow_factory_client.py http://localhost:8080 original.png edited.png "make it winter"
"""

import base64
import json
import os
import sys
import urllib.request
from pathlib import Path


def compute(url: str, prompts: list[str], edited: list[bytes], originals: list[bytes], key: str = "") -> dict:
    """{"rewards": [a number from 0 to 1 for each edit], "scores": [{perspective: number}]}."""
    body = {"prompt": prompts, "image": [base64.b64encode(one).decode() for one in edited],
            "condition_images": [[base64.b64encode(one).decode()] for one in originals]}
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(f"{url.rstrip('/')}/compute", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=120) as reply:
        return json.load(reply)


if __name__ == "__main__":
    server, original, edit, instruction = sys.argv[1:]
    print(json.dumps(compute(server, [instruction], [Path(edit).read_bytes()], [Path(original).read_bytes()],
                             os.environ.get("REWARD_SERVER_KEY", "")), indent=2))
