"""The report: from runs' folders and verl's files to tables, pictures and one page."""
