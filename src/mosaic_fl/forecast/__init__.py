"""What a run will take, before it is done: steps, time, memory, bytes and disk, from a few measured steps."""
