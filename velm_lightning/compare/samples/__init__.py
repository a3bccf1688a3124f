"""What the single samples of runs show: groups, equal answers, calibration, confusion, sentences."""
