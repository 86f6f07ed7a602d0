"""The subcommands of ``leanthink``: each module has ``HELP``, ``add_arguments(parser)`` and ``run(args, console)``."""
