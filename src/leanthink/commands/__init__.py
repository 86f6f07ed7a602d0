"""The subcommands of ``leanthink``: each module has ``add_arguments(parser)`` and ``run(args, console)``."""
