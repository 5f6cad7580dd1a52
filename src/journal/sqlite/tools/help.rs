//! What the tools say of themselves behind their options: when to use them, beside the service or not, how they end, and an
//! example.

pub(super) const CHECK: &str = "\
When: after an accident, before a copy is put back, and now and then.
Reads the whole file: its pages, every notification and its checksum, the index, the keys, and whether it reaches as far as
was acknowledged. Says `damaged:` and what it is, or what there is and `sound`. Places that an import left empty are known,
and no damage. Beside the service: yes; its write-ahead log grows meanwhile.

Exit code: 0 sound; 1 damaged, or it could not be read; 2 a setting is wrong.

Example:
  exposia-notifications journal check --data-dir /var/lib/notifications

If it is damaged: stop the service, keep DATA_DIR, `journal export --out FILE`, `journal import FILE` into an empty one.";

pub(super) const BACKUP: &str = "\
When: regularly, from a timer, and before anything that may go wrong.
Writes one state of the journal into FILE: all that was acknowledged before it began, and no half of anything. FILE has mode
0600, is on the disk when the tool ends, was read again and found sound, and is never written over one that is there.
Beside the service: yes. Its write-ahead log cannot begin anew meanwhile: if that grows beyond --max-log-bytes, the copy is
given up and nothing is left behind. FILE is best on another disk. Killed in the middle, the tool leaves a hidden file beside
it, `.FILE.<process>.part`, which can be removed.

Exit code: 0 there is a sound copy; 1 there is none, or the journal is damaged and the copy with it; 2 a setting is wrong.

Example:
  exposia-notifications journal backup /backup/notifications-$(date +%F).db

To put it back: stop the service, move DATA_DIR away, make an empty one, copy FILE into it as `notifications.db`, give it to
the service's user, start. The first start of a copy begins a new epoch: clients that have seen more start anew.";

pub(super) const EXPORT: &str = "\
When: a journal is damaged, goes to another version or another engine, or is to be looked into.
Writes a JSON object a line: the journal, its notifications in order with each payload as a string that has it byte for byte,
`hole` for places that hold nothing, the idempotency keys, and last how many these were. Notifications that expired but are
still there are among them. FILE has mode 0600, gets its name when all is on the disk, and is never written over one that is
there; a pipe may be. Killed in the middle, the tool leaves a hidden file beside it, `.FILE.<process>.part`, which can be
removed. Beside the service: yes; its write-ahead log grows meanwhile.

Exit code: 0 all that was there was written; 1 something was damaged and left out (it says how much), or nothing could be
read or written; 2 a setting is wrong.

Example:
  exposia-notifications journal export --out journal.jsonl
  exposia-notifications journal export | zstd > journal.jsonl.zst";

pub(super) const IMPORT: &str = "\
When: an export is to become a journal again. DATA_DIR must have none, or one that is empty.
Takes all of the export in or, when a line is wrong, nothing, and says which and why. Exports of older versions are good. What
the export declares as missing is known from then on: `check` passes it over, and clients are told of a gap. The epoch is a
new one, since others may have seen later notifications of the old one; with --keep-epoch it stays, unless something is missing.
Beside the service: no.

Exit code: 0 it is there and on the disk; 1 nothing was taken in; 2 a setting is wrong.

Example:
  exposia-notifications journal import journal.jsonl --data-dir /var/lib/notifications-new
  zstd -dc journal.jsonl.zst | exposia-notifications journal import -";

pub(super) const PRUNE: &str = "\
When: the disk is needed for something else. By itself the service lets the oldest go by JOURNAL_MAX_AGE, JOURNAL_MAX_ENTRIES
and JOURNAL_MAX_BYTES, but its file never shrinks.
Needs as much room on the disk as what is left takes. Clients that are further behind are told of a gap.
Beside the service: no.

Exit code: 0 done; 1 not, or not all of it; 2 a setting is wrong.

Example:
  exposia-notifications journal prune --keep-entries 100000 --older-than 3d";

pub(super) const NEW_EPOCH: &str = "\
When: a copy of DATA_DIR was put back that `journal backup` did not make (a snapshot of the disk, a copied folder), or the
service does not start since something that was acknowledged is not there.
Clients that come back are told that they could not be caught up, and get all that is new: under the old epoch they would miss
what is published at places that they have seen already. Notifications and keys stay. With --accept-loss also where the
journal ends before what was acknowledged, or is gone: what is missing is given up. Look for a better copy first.
Beside the service: no.

Exit code: 0 the epoch is a new one; 1 it is not, and nothing was changed; 2 a setting is wrong.

Example:
  exposia-notifications journal new-epoch --data-dir /var/lib/notifications";

pub(super) const SETTLE_CLOCK: &str = "\
When: the clock of this machine was ahead for a while, notifications were stamped with it, and now it is right. Make sure of
that first: `date`. Until the clock has passed the latest stamp by itself, nothing would go by its age.
What was stamped in the future counts from now on as written when the next one was that has a right stamp. Stamps stay as clients
saw them; keys that were used in the future were used now. Ends well when it is stopped in the middle: run it again.
Beside the service: no.

Exit code: 0 done; 1 not, or not all of it; 2 a setting is wrong.

Example:
  exposia-notifications journal settle-clock";
