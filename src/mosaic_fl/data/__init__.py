"""Data sets: reading them from files, folders, arrays and the hub, and their partition over clients."""
