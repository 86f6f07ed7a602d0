"""``python -m leanthink``; Python puts the current folder first on the path then, whose files are no part of us."""

import os
import sys

if not sys.flags.safe_path and sys.path and sys.path[0] in ("", os.getcwd()):
    del sys.path[0]

from leanthink.cli import main

raise SystemExit(main())
