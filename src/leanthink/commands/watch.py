"""``leanthink watch``: a running or finished run in the browser."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from leanthink.reporting.live.follow import Followed
from leanthink.reporting.live.serve import LOOPBACK, listening, new_token, serve


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="the folder that `leanthink train` writes")
    parser.add_argument("--port", type=int, default=8642, help="0 takes any free one (default: 8642)")


def run(args: argparse.Namespace, console: Console) -> int:
    """Serve until interrupted."""
    followed = Followed(args.run_folder)
    sock = listening(args.port)
    token = new_token()
    address = f"http://{LOOPBACK}:{sock.getsockname()[1]}/?token={token}"
    console.print(f"{address} shows {args.run_folder} to whoever has this address; Ctrl-C ends it", soft_wrap=True)
    serve(followed, sock, token)
    return 0
