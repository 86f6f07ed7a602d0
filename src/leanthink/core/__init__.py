"""What the author of a reward writes against: batches, rewards, groups, schedules, limits; it imports no other room."""
