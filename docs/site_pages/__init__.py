"""What `docs/build.py` writes into pages: tables and sections read off recipes, parts, the parser and records."""
