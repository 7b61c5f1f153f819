"""Asks a reward server as UniRL does; needs nothing but Python.

    python docs/clients/unirl_client.py http://localhost:8080 original.png edited.png "make it winter" edit
"""

import base64
import json
import os
import sys
import urllib.request
from pathlib import Path


def score(url: str, edits: list[tuple[str, bytes, bytes]], rewards: list[str], key: str = "") -> dict:
    """edits: instruction, original, edited. Returns {"results": [{reward: {name: number}}], "errors": [{reward: why there is none}]}."""
    body = {"requests": [{"history": [{"text": instruction, "image_b64": base64.b64encode(picture).decode()}
                                      for picture in (original, edited)], "required_rewards": rewards}
                         for instruction, original, edited in edits]}
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(f"{url.rstrip('/')}/score", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=120) as reply:
        return json.load(reply)


if __name__ == "__main__":
    server, before, after, wanted, *names = sys.argv[1:]
    print(json.dumps(score(server, [(wanted, Path(before).read_bytes(), Path(after).read_bytes())], names or ["edit"],
                           os.environ.get("REWARD_SERVER_KEY", "")), indent=2))
