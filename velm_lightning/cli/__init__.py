"""The command line: one file per command, the command table, the config parser and its guard.

May import every other room.
"""
