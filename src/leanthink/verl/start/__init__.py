"""What starts verl: a recipe becomes verl's keys, a command and a process."""
