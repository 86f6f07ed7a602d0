"""``python -m leanthink``."""

from leanthink.cli import main

raise SystemExit(main())
