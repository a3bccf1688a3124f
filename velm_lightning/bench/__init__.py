"""What ``velm bench`` measures, one file per benchmark: ratios within one run; may import every room but cli."""
