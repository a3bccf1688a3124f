"""``velm board``: a page over all runs while they train, from a server on this machine, without torch.

It may import ``compare``, ``tracking``, ``io`` and ``errors``.
"""
