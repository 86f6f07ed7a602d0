"""What runs in verl's driver: whole groups are shaped, limits handed out, states saved."""
