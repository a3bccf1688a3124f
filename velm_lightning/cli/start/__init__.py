"""What a command does before anything heavy is imported: help, file names, runs, hints, faults; imports no torch."""
