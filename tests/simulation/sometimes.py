"""What every campaign must have reached, or it proves nothing: crash points, recovery paths, faults and ends."""

from tests.simulation.case import FAULTS, KINDS

POINTS = (
    "C0 fetch",
    "C1 blobs",
    "C2 planned, not committed",
    "C3 inside the commit",
    "C4 committed, orders begun",
    "C5 committed, nothing sent",
    "C6 before the first byte",
    "C6 before the exec is made",
    "C6 before the targets are found",
    "C7 acted on, no reply yet",
    "C7 made, its handle unknown",
    "C8 reply, not recorded",
    "C8 handle known, not recorded",
    "C8 targets found, not recorded",
    "C9 handle recorded, not started",
    "C9 while looking",
    "C9 while watching",
    "C10 ended, not recorded",
    "C11 while the log is copied",
    "C13 before the clean-up",
    "C14 cleaned up, not recorded",
    "C15 before the cancel",
    "C15 cancelled, not recorded",
)
"""C12 is C3 with a result in it, C16 is C3 with a slot in it, C17-C19 wait for webhooks and migrations, C20 and C21 are faults here."""

SELDOM = "confirm_few"
"""What people do hardly 100 times in 20,000 seeds; what it shows, a revision that is refused, happens more often."""
_COMMITS = {"force_push", "empty_tree", "bad_file", "crash"}

SOMETIMES: frozenset[str] = frozenset(
    [
        *POINTS,
        *(f"crash at {point}" for point in POINTS),
        *(f"fault: {fault}" for fault in FAULTS if fault not in _COMMITS),
        "restored by hand",
        "adopted by a person",
        "adopted by name",
        "adopted none",
        "fenced",
        "adopt: already exists",
        "adopt: exec ended",
        "adopt: exec made, never started",
        "adopt: exec running",
        "adopt: exec without a handle never started",
        "adopt: container ended",
        "adopt: container gone",
        "adopt: container made before",
        "adopt: container made, never started",
        "adopt: container running",
        "adopt: no container of its name",
        "container: engine restarted",
        "container: handle lost",
        "adopt: process cleaned up",
        "adopt: process ended",
        "adopt: process never started",
        "adopt: process running",
        "verify: found",
        "verify: not found",
        "verify: running",
        "onLost: step lost",
        "onLost: step retrying",
        "onLost: step failed",
        "onLost: the same call again",
        *(f"attempt {phase}" for phase in ("succeeded", "failed", "timed_out", "cancelled", "lost")),
        *(f"step {phase}" for phase in ("succeeded", "failed", "skipped", "lost", "cancelled", "queued", "retrying")),
        *(f"list {phase}" for phase in ("succeeded", "failed", "cancelled", "lost")),
        *(f"sub-workflow {phase}" for phase in ("succeeded", "failed", "cancelled", "lost")),
        *(f"wait {phase}" for phase in ("succeeded", "cancelled")),
        *(f"step at the end {phase}" for phase in ("succeeded", "failed", "cancelled", "lost")),
        *(f"task {phase}" for phase in ("unadopted", "suspended", "removed", "revoked", "failed", "finished")),
        *(f"slot {reason}" for reason in ("Fired", "Missed", "Overlap", "Suspended", "Unadopted")),
        *(f"trigger {reason}" for reason in ("Introduced", "Rescheduled", "Resumed", "Suspended", "Removed")),
        "task released",
        *(f"answer: {verb}" for verb in ("retry", "skip", "resolve", "approve")),
        *(f"control {condition}" for condition in ("ControlStale", "ControlRefused", "ControlPending")),
        "repinned",
        *(
            f"group {what}"
            for what in ("QueuedForGroup", "let in", "Skipped", "Replaced", "step skipped", "step replaced")
        ),
        *(f"group step {what} inside a workflow" for what in ("skipped", "replaced")),
        *(f"source {condition}" for condition in ("PruneBlocked", "EmptySet", "Rewound", "RestoredOlder")),
        *(f"people: {kind}" for kind in KINDS if kind != SELDOM),
    ]
)
