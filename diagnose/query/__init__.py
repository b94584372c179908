"""
A reader's own SQL, run where it can do no harm: in a child process over a snapshot of the data.

    question   what is asked, what it may take, what comes back
    saved      the questions of an engineer on call, in files (saved/*.sql)
    pool       the children, and who may have one
    child      one of them, seen from here: asked, waited for, killed
    worker     the child itself: one SELECT or EXPLAIN, read-only, everything else locked
    encode     rows → JSON, CSV, Arrow or Parquet, in the child        values   one value → JSON

Nothing is imported here: the child must start quickly.
"""
