"""The binaries that are compared, built by cargo with the same settings, and each service by itself: as it is deployed, without what its
libraries have for tests.

A revision is built from a copy of it in a temporary folder. All revisions share the compiled dependencies in `target/ab/build`, and the
binary of each is kept in `target/ab/COMMIT`.
"""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "target" / "ab"
PACKAGE = "exposia-notifications"
PROFILE = os.environ.get("BENCH_PROFILE", "release")


def commit(rev):
    """The commit that `rev` means. Raises ValueError when there is none."""
    asked = subprocess.run(["git", "rev-parse", "--verify", "--quiet", f"{rev}^{{commit}}"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if asked.returncode:
        raise ValueError(f"no such revision: {rev}")
    return asked.stdout.strip()


def tree(benches):
    """The server of the tree, and the binaries of some of its benches by their names."""
    found = cargo(ROOT, ROOT / "target", [word for bench in benches for word in ("--bench", bench)])
    # After the benches, which build another in its place; and what is built while this runs must not take it.
    server = cargo(ROOT, ROOT / "target", ["--bin", PACKAGE])[PACKAGE]
    return keep(server, HERE / "tree" / PACKAGE), {bench: found[bench] for bench in benches}


def revision(commit):
    """The server of a commit: what was kept of an earlier call with the same settings, or built now."""
    kept = HERE / commit / f"{PACKAGE}-{settings()}"
    if kept.exists():
        return kept
    target = HERE / "build"
    seed(target)
    with tempfile.TemporaryDirectory() as source:
        archive = subprocess.Popen(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE)
        subprocess.run(["tar", "-x", "-C", source], stdin=archive.stdout, check=True)
        if archive.wait():
            raise SystemExit(f"git archive {commit} failed")
        # Cargo tells two copies of a package apart by the age of its files only: another commit's would be taken for this one's.
        subprocess.run(["cargo", "clean", "--quiet", "--package", PACKAGE, "--profile", PROFILE, "--target-dir", target], cwd=source, check=True)
        return keep(cargo(pathlib.Path(source), target, ["--bin", PACKAGE])[PACKAGE], kept)


def settings():
    """A name for what changes a build besides its source."""
    changed = sorted(f"{key}={value}" for key, value in os.environ.items() if key.startswith(("CARGO_PROFILE_", "RUSTFLAGS")))
    return f"{PROFILE}-{hashlib.sha256(' '.join(changed).encode()).hexdigest()[:8]}"


def seed(target):
    """Gives a target directory the dependencies that the tree's has compiled."""
    name = "debug" if PROFILE == "dev" else PROFILE
    for part in (".fingerprint", "build", "deps"):
        source, copy = ROOT / "target" / name / part, target / name / part
        if source.exists() and not copy.exists():
            shutil.copytree(source, copy, symlinks=True, ignore=shutil.ignore_patterns("*exposia?notifications*"))


def cargo(directory, target, what):
    """Builds, and gives the binaries by the names of their targets."""
    command = ["cargo", "build", "--locked", "--profile", PROFILE, "--target-dir", target, "--message-format=json-render-diagnostics", *what]
    built = subprocess.run(command, cwd=directory, stdout=subprocess.PIPE, text=True)
    if built.returncode:
        raise SystemExit(f"{directory}: cargo build failed")
    messages = [json.loads(line) for line in built.stdout.splitlines()]
    return {message["target"]["name"]: pathlib.Path(message["executable"]) for message in messages if message.get("executable")}


def keep(binary, place):
    """A copy of a binary under a name of its own, whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    whole = place.with_suffix(".new")
    shutil.copy2(binary, whole)
    return whole.rename(place)
