"""
Evidence from running Go processes, while it is happening.

    kinds      what can be captured            targets    who may be asked, and by which URL
    network    which addresses are allowed     fetch      one GET of one profile, checked and bounded
    wall       polled goroutine snapshots      locks      one round per process at a time
    round      the protocol: cheap first, CPU, then the growing ones again; every outcome a row
    baseline   the same when nothing is wrong
"""
