"""
Bodies are read by columns a few at a time.

Each of the hundred Arrow kernels of one body lets go of the interpreter and has to get it back; eight threads at it on
two cores spent a quarter of their time handing it to each other. Bodies that are read object by object take seconds
when they are large: nobody waits for those.
"""

from __future__ import annotations

import os
from threading import BoundedSemaphore

TURN = BoundedSemaphore(max(1, (os.cpu_count() or 1) // 2))  # of whoever reads one
