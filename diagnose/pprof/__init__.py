"""
Profiles in memory: no HTTP, no SQL.

    profile    what a profile is             codec    bytes ↔ Profile
    names      what a Go symbol name says    kinds    cpu, heap, mutex … from the value types
    tree       samples → call tree           top      flat and cum per function, callers and callees
    diff       before and after, with significance
    wall       goroutine snapshots → one wall-clock profile
    subtract   two cumulative snapshots → what happened between them
    columns    Profile → Arrow tables        export   folded stacks, speedscope, filtered pprof
"""
