"""Run folders from the predictions of other systems, one reader per format; may import all but fusions and commands."""
