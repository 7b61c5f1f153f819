"""python app.py: the studio in a browser.

The page is up before the model is loaded; the first model loads in the background. On a laptop:

  python app.py
  python app.py --model tiny --judge gpt-4o --port 8000
"""

from __future__ import annotations

import argparse
import os
import shlex
import socket
import sys
from pathlib import Path

FIRST_PORT, LAST_PORT = 7860, 7899


def flag_parser() -> argparse.ArgumentParser:
    from mre.editors.load_options import add_load_arguments

    parser = argparse.ArgumentParser(prog="python app.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", metavar="NAME|DIR|HUB_ID|images:MODEL@URL",
                        help="a model to edit with; may be given more than once, the first is shown first (default: tiny, tiny-baseline)")
    parser.add_argument("--judge", metavar="NAME", default="tiny-judge",
                        help="who scores edits, such as gpt-4o; none: nobody (default: %(default)s, which runs here)")
    parser.add_argument("--judge-requests", type=int, default=1500, metavar="N",
                        help="requests that all visitors together may send the judge while the server runs, three for an edit; answers "
                             "that it gave before are free (default: %(default)s)")
    parser.add_argument("--edit-key-file", type=Path, metavar="FILE",
                        help="file that holds the key of editors on servers (default: OPENAI_API_KEY)")
    parser.add_argument("--edit-requests", type=int, metavar="N",
                        help="requests that all visitors together may send each of them while the server runs (default: any number)")
    parser.add_argument("--edit-budget", type=float, metavar="USD", help="the most that these may cost while the server runs")
    parser.add_argument("--price-picture", type=float, metavar="USD", help="for each edit, where the list price is unknown or old")
    parser.add_argument("--data", type=Path, default=Path("data"),
                        help="folder of the study database and its pictures (default: %(default)s)")
    parser.add_argument("--database", metavar="URL", help="SQLAlchemy URL of the study database (default: SQLite under --data)")
    parser.add_argument("--host", default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
                        help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=_port_of_environment(),
                        help=f"port to listen on; without it the first free one from {FIRST_PORT}")
    parser.add_argument("--share", action="store_true", help="also open a public address through Gradio's tunnel; never without this flag")
    parser.add_argument("--auth", type=Path, metavar="FILE",
                        help="accounts and roles; without it all tabs are open to whoever reaches the page")
    parser.add_argument("--allowed-host", action="append", default=[], metavar="NAME",
                        help="answer to this host name too, such as studio.example.org or *.example.org; again for more "
                             "(always: localhost and the address it listens on)")
    parser.add_argument("--trusted-proxy", action="append", default=[], metavar="ADDRESS",
                        help="believe the X-Forwarded headers of a proxy at this address or network; again for more (default: nobody's)")
    parser.add_argument("--frame-ancestor", action="append", default=[], metavar="SITE",
                        help="let this site, such as https://lab.example.org, show the pages in a frame; again for more (default: none)")
    add_load_arguments(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    try:
        standing = shlex.split(os.environ.get("MRE_APP_FLAGS", ""))
    except ValueError as error:
        print(f"error: MRE_APP_FLAGS: cannot be read as flags ({error})", file=sys.stderr)
        return 1
    args = flag_parser().parse_args([*standing, *(sys.argv[1:] if argv is None else argv)])
    os.umask(0o077)                     # whatever the server writes, uploads too, is for its own eyes
    if args.port is not None and not 0 <= args.port <= 65535:
        print(f"error: --port must be between 0 and 65535, got {args.port}", file=sys.stderr)
        return 1
    try:
        server = listen(args.host, args.port)
    except OSError as error:
        where = args.port if args.port is not None else f"{FIRST_PORT} to {LAST_PORT}"
        print(f"error: --host {args.host}, port {where}: cannot listen ({error.strerror or error})", file=sys.stderr)
        return 1
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    from mre import device
    device.begin()
    from mre.editors.load_options import load_options
    from mre.errors import MreError
    from ui.app import build_app
    from ui.serve import serve
    from ui.studio import StudioSettings

    port = server.getsockname()[1]
    try:
        settings = StudioSettings(
            models=tuple(dict.fromkeys(args.model or ())), judge=None if args.judge == "none" else args.judge,
            judge_requests=args.judge_requests, data=args.data, database=args.database, host=args.host, port=port, share=args.share,
            auth=args.auth,
            allowed_hosts=tuple(args.allowed_host), trusted_proxies=tuple(args.trusted_proxy), frame_ancestors=tuple(args.frame_ancestor),
            loading=load_options(args), server_options={
                "key_file": args.edit_key_file, "max_requests": args.edit_requests, "budget": args.edit_budget,
                "price_picture": args.price_picture})
        app = build_app(settings)
        device.report()
        return serve(app, server)
    except MreError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        server.close()


def listen(host: str, port: int | None) -> socket.socket:
    """A socket bound to the port asked for, or to the first free one. Bound here, so that nobody else takes it meanwhile."""
    family = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][0]
    ports = [port] if port is not None else range(FIRST_PORT, LAST_PORT + 1)
    for number in ports:
        server = socket.socket(family, socket.SOCK_STREAM)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((host, number))
            server.listen(2048)
            return server
        except OSError:
            server.close()
            if number == ports[-1]:
                raise
    raise AssertionError("there is a port to try")


def _port_of_environment() -> int | None:
    text = os.environ.get("GRADIO_SERVER_PORT") or os.environ.get("PORT") or ""
    return int(text) if text.isdecimal() else None


if __name__ == "__main__":
    sys.exit(main())
