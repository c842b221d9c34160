"""The picture of docs/architecture.md, drawn from what the modules really import."""

from tests.project.modules import imports, modules

# node -> (what the box says, the modules behind it: a name stands for itself and everything below it)
BOXES = {
    "cli": ("cli: the command line", ["reconciler.cli", "reconciler.demo_service"]),
    "controller": (
        "controller, loop, dispatch: one turn after another",
        [
            "reconciler.controller",
            "reconciler.loop",
            "reconciler.agenda",
            "reconciler.inbox",
            "reconciler.dispatch",
            "reconciler.follow",
            "reconciler.last_good",
            "reconciler.requests",
            "reconciler.service",
        ],
    ),
    "api": ("api: the read side, a process of its own", ["reconciler.api"]),
    "plan": (
        "plan, judgement, status: decide, with values only",
        [
            "reconciler.plan",
            "reconciler.judgement",
            "reconciler.status",
            "reconciler.triggers",
            "reconciler.waiting",
            "reconciler.expectation",
            "reconciler.failures",
            "reconciler.actions",
            "reconciler.observed",
            "reconciler.approval",
            "reconciler.position",
            "reconciler.reasons",
            "reconciler.shortening",
            "reconciler.document",
            "reconciler.words",
        ],
    ),
    "drivers": ("drivers: each reaches one kind of target", ["reconciler.drivers"]),
    "operator": (
        "settings, policy, secrets: what the operator says",
        [
            "reconciler.settings",
            "reconciler.settings_layers",
            "reconciler.policy",
            "reconciler.urls",
            "reconciler.secrets",
            "reconciler.clock",
            "reconciler.errors",
        ],
    ),
    "sources": ("definitions.sources: Git, a folder", ["definitions.sources"]),
    "definitions": ("definitions: DESIRED, from bytes to programs", ["definitions"]),
    "state": ("state: OBSERVED, the only SQL", ["state"]),
}


def box_of(module: str) -> str | None:
    """The box of a module: the one with the longest matching name."""
    found = [
        (len(name), box) for box, (_, names) in BOXES.items() for name in names if (module + ".").startswith(name + ".")
    ]
    return max(found)[1] if found else None


def arrows() -> frozenset[tuple[str, str]]:
    """(importer, imported) between different boxes."""
    known = modules()
    pairs = {(box_of(module), box_of(name)) for module in known for name in imports(module) if name in known}
    return frozenset((one, other) for one, other in pairs if one and other and one != other)


def draw() -> str:
    """The mermaid block."""
    used = {box for pair in arrows() for box in pair}
    boxes = [f'  {box}["{text}"]' for box, (text, _) in BOXES.items() if box in used]
    order = list(BOXES)
    lines = [
        f"  {one} --> {other}"
        for one, other in sorted(arrows(), key=lambda pair: (order.index(pair[0]), order.index(pair[1])))
    ]
    return "\n".join(["```mermaid", "flowchart TD", *boxes, *lines, "```"])
