"""What a trained model looked at and what it costs: values are returned, nothing is written.

May import fusion and the rooms below it.
"""
