"""What each field means, in one place, so that the documentation and the editors' JSON Schema say the same sentence.

The models say what is allowed; prose beside every field would bury that. A key is a field's name as in the YAML, or
`Object.field` where one name means different things.
"""

from collections.abc import Mapping
from typing import Any

MEANINGS: Mapping[str, str] = {
    # the envelope
    "apiVersion": "marks the document as a definition",
    "kind": "which of the four kinds it is",
    "metadata": "who it is",
    "Job.spec": "what is done",
    "Workflow.spec": "which steps there are, and their order",
    "Task.spec": "what to run, fixed at admission; without it the file controls a task that a trigger made",
    "Trigger.spec": "what to run, and when",
    "Metadata.name": "with the namespace the identity; printable Unicode without `/`",
    "Metadata.namespace": "groups tasks, limits and policy",
    "Metadata.labels": "for selection: `-l key=value`",
    "annotations": "anything else that tools want to keep here",
    # params
    "params": "what whoever uses it passes in; `name: string` is short for a required parameter of that type",
    "Ansible.params": "variables for the tasks",
    "Param.type": "what kind of value it is",
    "Param.default": "the value when none is given; makes the parameter optional",
    "Param.required": "whether it must be given; by default when it has no default",
    "Param.enum": "the only values allowed",
    # jobs, steps and calls
    "title": "a name for people",
    "description": "a text for people",
    "outputs": "name -> expression over `result` (of `calls`: over `calls`); what later steps may read",
    "WorkflowSpec.outputs": "name -> expression over `steps`: what the task has as its outputs",
    "until": "expression over `result`; while it is false or raises, the call is made again",
    "every": "at least this long from the end of one call to the next",
    "maxCalls": "how many calls an attempt may make",
    "retry": "whether and when a failed attempt is followed by another; by default it is not",
    "timeout": "how long an attempt may take, all its calls together",
    "WorkflowSpec.timeout": "how long the whole task may take",
    "Http.timeout": "how long one call may take",
    "expect": "how long it normally takes: shown, never enforced",
    "StepControl.expect": "how long this run of the step is expected to take: shown, never enforced",
    "parallelism": "how many targets or items at a time",
    "concurrency": "how many attempts may run at a time, over all tasks",
    "WorkflowSpec.concurrency": "how many runs of the workflow there may be at a time, over all tasks",
    "onLost": "what happens when nobody can say how an attempt ended: `hold` for a person, `retry` with a new attempt, or `fail`; "
    "by default `retry` for GET and HEAD, `hold` otherwise",
    "sample": "an example answer for `reconciler simulate` and for checks",
    "job": "the job that it uses, by name",
    "with": "values for the parameters",
    "if": "expression; when it is false the step is skipped and its outputs are None",
    "forEach": "a list, or an expression that gives one: one run for each `item`; the results form `results`",
    "continueOnError": "a failure of it does not fail the task",
    "calls": "several calls, one after the other, instead of one job",
    "workflow": "the workflow that it runs, by name",
    "approval": "waits for a commit that approves",
    "wait": "waits for a time or a while",
    "needs": "steps that must have ended before it, beside those that `flow` and references name",
    "flow": "the order: a list is in order, a list in it is together, alternating with depth; "
    "without it references and `needs` are the order",
    "steps": "the steps by name",
    "Control.steps": "by path: what the author decides about single steps",
    "onExit": "one step that always runs at the end, with `task.state` in scope",
    "Retry.limit": "how many attempts after the first",
    "Retry.every": "how long from a failed attempt to the next",
    "Retry.backoff": "what the pause is multiplied by each time",
    "Retry.maxEvery": "the longest pause",
    "Concurrency.limit": "so many of the group at a time",
    "Concurrency.group": "what is counted together; by default the job, the inline step of its workflow, or the workflow itself",
    "Concurrency.policy": "what happens to one too many: it waits (`queue`), is skipped (`skip`), or takes the place of "
    "the oldest, which is stopped (`replace`)",
    "Approval.message": "what the approver should look at",
    "Wait.for": "how long",
    "Wait.until": "until when: a time, or an expression that gives one",
    # driver blocks
    "http": "an HTTP call",
    "container": "a command in running containers, or a new container",
    "kubernetes": "a command in pods, or a Kubernetes Job",
    "process": "a process beside the controller; the operator must enable it",
    "ansible": "Ansible tasks on nodes",
    "script": "Python-syntax code in a sandbox without I/O",
    "method": "the HTTP method",
    "Http.url": "where the call goes; no user information in it",
    "query": "the query string; a value that is None is left out, a list is repeated",
    "headers": "further request headers",
    "json": "the body as JSON",
    "form": "the body as a form",
    "Http.body": "the body as text",
    "expectStatus": "the statuses that mean success; by default 200 to 299",
    "idempotent": "the target does the work of one idempotency key once, so a call with a lost reply may be sent again",
    "verify": "how to find out what became of a call whose reply was lost",
    "alreadyExists": "expression over `result`; true means that an earlier call under this key was acted on",
    "Http.cancel": "the call that ends the work when the task is revoked or out of time",
    "Verify.url": "what to read",
    "Verify.found": "expression over `result`; true means that the call was acted on",
    "Verify.result": "expression that gives the result of the call",
    "HttpCancel.url": "where the call goes",
    "secret": "where the provider finds the value: `path/key`",
    "exec": "a command for what is already there",
    "run": "a new container",
    "in": "which containers, looked up for each run",
    "on": "the hosts whose containers are looked at",
    "user": "as whom it runs",
    "workdir": "the working folder",
    "privileged": "with the rights of the host; policy must grant it",
    "env": "environment variables",
    "args": "arguments after the command; secret ones stand here",
    "stdin": "what the command reads",
    "receipt": "whether the command leaves a receipt in its container, which proves the outcome after a crash",
    "ContainerSelector.labels": "labels that it must have",
    "names": "names, one of which it must have",
    "ids": "ids, one of which it must have",
    "ContainerSelector.image": "the image that it must have been made from",
    "image": "the image",
    "command": "the command; a text is split like a shell's words, never given to a shell",
    "labels": "labels of what is created, beside our own",
    "mounts": "what of the host or which volumes the container sees; policy must grant it",
    "Mount.source": "folder or volume",
    "Mount.target": "where the container sees it",
    "Mount.readOnly": "whether it cannot write there",
    "network": "the network that it joins",
    "resources": "what it may use",
    "Resources.cpu": "cores, e.g. `0.5` or `500m`",
    "Resources.memory": "memory, e.g. `256Mi`",
    "pull": "when the image is pulled",
    "Kubernetes.job": "a Kubernetes Job of one pod",
    "namespace": "the Kubernetes namespace",
    "selector": "which pods, in kubectl's syntax",
    "pod": "one pod by name",
    "KubernetesExec.container": "which container of the pod; by default its first",
    "serviceAccount": "the account that the pod runs as",
    "nodeSelector": "labels that the node must have",
    "nodes": "the hosts, as a list or as an expression that gives one",
    "Ansible.tasks": "Ansible tasks, as YAML or as paths below the roles of the operator",
    "forks": "hosts at a time",
    "mode": "one run for all nodes, or one for each",
    "grace": "how long from TERM to KILL",
    "Script.body": "the code; what it returns is the result",
    # tasks
    "deletePolicy": "what removing the file means: let what is in flight finish, or revoke",
    "Task.control": "what later commits change",
    "Control.state": "whether it goes on, waits, or ends for good",
    "reason": "why, for people; required with everything that is out of the ordinary",
    "Control.until": "when a suspended task goes on by itself",
    "Control.run": "which run of the task this asks for; a higher number runs all of it again",
    "repin": "the commit whose definitions, while they are in force, the steps not yet started continue with",
    "StepControl.retry": "allows one more attempt, after the failure that it names",
    "skip": "ends a step that does not run without running it",
    "approve": "answers an approval",
    "resolve": "answers a lost outcome",
    "RetryFailed.reason": "why, for people; with another reason the same is said anew",
    "RetryFailed.failed": "how often the author has seen it fail, as status shows: a stale number changes nothing",
    "Skip.outputs": "what later steps read instead",
    "Approve.plan": "the digest that status shows: what is approved",
    "Resolve.attempt": "the attempt that the author has seen",
    "as": "how it really ended",
    "Resolve.outputs": "what later steps read",
    # triggers
    "Trigger.control": "suspends it",
    "TriggerControl.state": "whether it fires; what passes while it is suspended is skipped for good",
    "TriggerSpec.task": "what each task runs",
    "cron": "when, in five fields: minute, hour, day of month, month, day of week (0 and 7 are Sunday)",
    "timezone": "the zone that `cron` is meant in",
    "missed": "which of the times fire that passed while nobody looked: none, the latest, or all (at most 100)",
    "within": "how late a missed time may still fire",
    "overlap": "what happens when its last task is not over: skip this one, queue it behind, or revoke the other",
    "onCommit": "fires at a revision that changes one of these paths, at the tip if several commits come together",
    "onChange": "fires when a definition that its task uses, or `with`, changes",
    "OnCommit.paths": "patterns from the root of the repository (`apps/**`, `*.lock`); a commit must change one such path",
}


def meaning(model: str, field: str) -> str:
    """The sentence for a field of a model, both as in the JSON Schema; empty if there is none."""
    return MEANINGS.get(f"{model}.{field}", MEANINGS.get(field, ""))


def explained(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON Schema of definitions with every field's meaning as its `description`, where it has none of its own."""
    objects = {name: _explained(name, each) for name, each in schema.get("$defs", {}).items()}
    own = _explained(schema["title"], schema) if "title" in schema and "properties" in schema else dict(schema)
    return own | ({"$defs": objects} if objects else {})


def _explained(model: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    if "properties" not in schema:
        return dict(schema)
    fields = {
        field: {**each, "description": meaning(model, field) or each.get("description", "")}
        for field, each in schema["properties"].items()
    }
    return {**schema, "properties": fields}
