"""python app.py: the studio in a browser. `python app.py --help` lists the flags."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--data", type=Path, default=Path("data"))
    args = parser.parse_args(argv)
    import uvicorn

    from ui.app import build_app
    from ui.studio import StudioSettings
    uvicorn.run(build_app(StudioSettings(host=args.host, port=args.port, data=args.data)), host=args.host, port=args.port, log_level="warning")
    return 0


if __name__ == "__main__":
    sys.exit(main())
