"""The receipt of a command in a container: a folder there that says whether it was started, runs, and how it ended.

`mkdir` of the folder is the fence: whoever makes it, and finds no other's in another place, runs the command, nobody
else ever. `rc`, for which there is room from then on, and which is written by rename, is the proof of its end. Its
output lies beside it, the beginning and the end of what was too much, and in which life of the container that was: when
its first process began, in which boot of its host. All programs here are constant text for `sh`, and what they are
about comes as positional words: nothing is ever spliced into them.
"""

import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass

FOLDERS = "/var/tmp /tmp /run /dev/shm"  # noqa: S108  # of the container: what every image has
"""Where receipts are looked for, and made in the first that can be written. The first two outlive a restart."""
LASTING = FOLDERS.split()[:2]
PART = 1 << 20
"""Bytes of each stream that one look brings."""
TAIL = 256 << 10
FILES = {"stdout": b"out", "stderr": b"err"}
CUT_SHORT = 96
FENCED = 97
NOWHERE = 98
UNWRITTEN = 99
_WORDS = "mkdir mv rm cat tail head wc tr grep"

_FIND = f"""
n=${{1#run:}}
d=
for b in {FOLDERS}; do [ -d "$b/$n" ] && d=$b/$n && break; done
says() {{ tr '\\0' '\\n' <"$1" | grep -qxF "$2"; }} 2>/dev/null
leader() {{ [ -f "$d/pid" ] && read -r l <"$d/pid" && says "/proc/$l/cmdline" "run:$n"; }}
life() {{
  read -r k </proc/sys/kernel/random/boot_id
  read -r l </proc/1/stat
  set -- ${{l##*) }}
  [ -n "$k" ] && [ -n "${{20:-}}" ] && echo "$k ${{20}}"
}} 2>/dev/null
sizes() {{ wc -c "$d/out" "$d/err" "$d/out.tail" "$d/err.tail" 2>/dev/null; }}
"""

_REPORT = f"""
alive() {{
  leader && return 0
  for p in /proc/[0-9]*; do
    says "$p/environ" "RECONCILER_RECEIPT=$n" && return 0
    says "$p/cmdline" "run:$n" && return 0
  done
  return 1
}}
restarted() {{
  {{ read -r l && read -r w; }} <"$d/pid" || return 1
  k=$(life)
  [ -n "$k" ] && [ "$k" != "$w" ]
}} 2>/dev/null
part() {{ cat "$1" "$1.tail" 2>/dev/null | tail -c "+$(($2 + 1))" | head -c {PART}; }}
report() {{
  s=none c=-
  if [ -n "$d" ]; then
    s=lost
    if [ -f "$d/rc" ]; then read -r c <"$d/rc"; s=ended; [ -f "$d/done" ] || s=ending
    elif [ -f "$d/forbidden" ]; then s=forbidden
    elif alive; then s=running
    fi
    if [ "$s" = lost ] && [ -f "$d/rc" ]; then read -r c <"$d/rc"; s=ending
    elif [ "$s" = lost ] && restarted; then s=restarted
    fi
  fi
  echo "receipt $s $c"
  [ -z "$d" ] || sizes
  echo "0 total receipt"
  [ -z "$d" ] || {{ part "$d/out" "$1"; part "$d/err" "$2" >&2; }}
}}
"""

RUN = f"""{_FIND}
most=$2 length=$3 mask=$4
shift 4
while [ -n "$mask" ]; do
  w=$1
  case $mask in
    1*) IFS= read -r w || exit {CUT_SHORT}; w=$(printf '%bX' "$w"); w=${{w%X}} ;;
  esac
  shift
  set -- "$@" "$w"
  mask=${{mask#?}}
done
[ -z "$d" ] || exit {FENCED}
i=/dev/null
if [ "$length" -gt 0 ]; then
  u=$(umask)
  umask 077
  for b in {FOLDERS}; do {{ head -c "$length" >"$b/$n.in.$$"; }} 2>/dev/null && i=$b/$n.in.$$ && break; done
  umask "$u"
  [ "$(($(wc -c <"$i")))" -eq "$length" ] || {{ [ "$i" = /dev/null ] || rm -f "$i"; exit {CUT_SHORT}; }}
fi
exec 5<"$i"
[ "$i" = /dev/null ] || rm -f "$i"
for b in {FOLDERS}; do
  [ -d "$b" ] || continue
  if mkdir -m 700 "$b/$n"; then
    {{ echo $$ && {{ life || :; }}; }} >"$b/$n/pid" && echo '    ' >"$b/$n/rc.new" && d=$b/$n && break
    rm -rf "$b/$n"
  elif [ -d "$b/$n" ]; then exit {FENCED}
  fi
done 2>/dev/null
[ -n "$d" ] || exit {NOWHERE}
for b in {FOLDERS}; do
  [ -d "$b/$n" ] || continue
  l=
  read -r l <"$b/$n/pid"
  [ "$l" = $$ ] || {{ rm -rf "$d"; exit {FENCED}; }}
done 2>/dev/null
keep() {{
  trap '' TERM INT HUP
  exec 2>/dev/null
  (ulimit -c 0; ulimit -f "$most"; exec cat >"$1") && return
  tail -c {TAIL} >"$1.new"
  [ -s "$1.new" ] && mv "$1.new" "$1.tail"
}}
ran() {{
  RECONCILER_RECEIPT=$n "$@" <&5 5<&-
  c=$?
  printf '%-4s\\n' $c 1<>"$d/rc.new" && mv "$d/rc.new" "$d/rc"
}}
{{ ran "$@" 2>&1 >&3 3>&- | keep "$d/err" 3>&-; }} 3>&1 | keep "$d/out"
: >"$d/done"
[ -f "$d/rc" ] || exit {UNWRITTEN}
read -r c <"$d/rc"
z=$(exec wc -c "$d/out" "$d/err" "$d/out.tail" "$d/err.tail" 2>/dev/null)
set -- $z
[ "$1" -lt {PART} ] && [ "$3" -lt {PART} ] && {{
  printf 'receipt ended %s\\n%s\\n0 total receipt\\n' "$c" "$z"
  [ "$1" -eq 0 ] || cat "$d/out"
  [ "$3" -eq 0 ] || cat "$d/err" >&2
}}
exit "$c"
"""
"""`sh -c RUN rc run:NAME BLOCKS LENGTH MASK COMMAND…`: run it with a receipt of up to BLOCKS of 512 bytes a stream, and report.

A word whose place in MASK is 1 comes as a line of stdin instead, so that no list of processes or executions shows it;
the LENGTH bytes behind those lines are the command's stdin. If they are cut short nothing is run.
"""

LOOK = f"""{_FIND}{_REPORT}report "$2" "$3"
"""
"""`sh -c LOOK rc NAME OUT ERR`: what has become of it, and its output from these places on."""

FORBID = f"""{_FIND}{_REPORT}umask 077
if [ -z "$d" ]; then
  for b in {FOLDERS}; do mkdir -m 700 "$b/$n" 2>/dev/null && d=$b/$n && : >"$d/forbidden" && break; done
fi
report 0 0
"""
"""`sh -c FORBID rc NAME`: from now on it can not be started, if it was not."""

SIGNAL = f"""{_FIND}
signal=$2
session=
leader && session=$l
for p in /proc/[0-9]*; do
  i=${{p#/proc/}}
  [ "$i" = $$ ] && continue
  says "$p/cmdline" "run:$n" && continue
  read -r line 2>/dev/null <"$p/stat" || continue
  set -- ${{line##*) }}
  [ "$1" = Z ] && continue
  [ -n "$session" ] && [ "$4" = "$session" ] || says "$p/environ" "RECONCILER_RECEIPT=$n" || continue
  if [ "$signal" = 0 ]; then echo "$i"; else kill "-$signal" "$i" 2>/dev/null; fi
done
exit 0
"""
"""`sh -c SIGNAL rc NAME SIGNAL`: to the command and all that came of it; signal 0 names them instead."""

ABLE = f"""
for w in {_WORDS}; do command -v "$w" >/dev/null || exit 1; done
for b in {FOLDERS}; do
  mkdir "$b/$1" 2>/dev/null || continue
  rm -r "$b/$1" && echo "able $b" && exit 0
done
exit 1
"""
"""`sh -c ABLE rc NAME`: whether a command can leave a receipt here, and in which folder."""

REMOVE = f"""
for n in "$@"; do
  for b in {FOLDERS}; do rm -rf "$b/$n".*; done
done
"""
"""`sh -c REMOVE rc NAME…`: the receipts of all calls of these attempts go."""


def feed(hidden: Sequence[str], stdin: bytes) -> bytes:
    """What a run is given: the hidden words, a line each, and then the stdin of the command."""
    lines = ("".join(f"\\0{byte:03o}" for byte in word.encode()) + "\n" for word in hidden)
    return "".join(lines).encode() + stdin


@dataclass(frozen=True, slots=True)
class Report:
    """What a receipt says. `state`: none, running, ending (its output may still come), ended, forbidden, restarted (it
    neither ended nor runs, and its container has begun another life) or lost (the same, in the same life).

    Sizes are in bytes; output is counted without what was dropped between its head and its tail.
    """

    state: str
    code: int | None
    sizes: dict[str, int]
    tails: dict[str, int]
    parts: dict[str, bytes]

    @property
    def over(self) -> bool:
        """Whether the command has ended and said how."""
        return self.code is not None


def words(program: str, *arguments: str) -> Sequence[str]:
    """The command line that runs `program` with these positional words."""
    return ("sh", "-c", program, "rc", *arguments)


def read_report(stdout: bytes, stderr: bytes) -> Report | None:
    """The report that a program printed; None for anything else. A part is what follows, from where it was asked for."""
    head, found, rest = stdout.partition(b" receipt\n")
    lines = [line.split() for line in head.splitlines()]
    if (
        not found
        or len(lines) < 2
        or lines[0][:1] != [b"receipt"]
        or len(lines[0]) != 3
        or lines[-1][-1:] != [b"total"]
    ):
        return None
    counted = {
        line[1].rpartition(b"/")[2]: int(line[0]) for line in lines[1:-1] if len(line) == 2 and line[0].isdigit()
    }
    sizes = {stream: counted.get(name, 0) for stream, name in FILES.items()}
    tails = {stream: counted.get(name + b".tail", 0) for stream, name in FILES.items()}
    code = int(lines[0][2]) if lines[0][2].isdigit() else None
    return Report(lines[0][1].decode(errors="replace"), code, sizes, tails, {"stdout": rest, "stderr": stderr})


def from_archive(raw: bytes) -> Report:
    """The report of a receipt whose container does not run, from the folder as a tar archive. Raises ValueError."""
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
            for member in archive:
                opened = archive.extractfile(member) if member.isfile() else None
                if opened:
                    files[member.name.rpartition("/")[2]] = opened.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"the receipt cannot be read: {error}") from None
    names = {"stdout": "out", "stderr": "err"}
    sizes = {stream: len(files.get(name, b"")) for stream, name in names.items()}
    tails = {stream: len(files.get(f"{name}.tail", b"")) for stream, name in names.items()}
    parts = {stream: files.get(name, b"") + files.get(f"{name}.tail", b"") for stream, name in names.items()}
    text = files.get("rc", b"").strip()
    code = int(text) if text.isdigit() else None
    return Report("ended" if code is not None else "lost", code, sizes, tails, parts)
