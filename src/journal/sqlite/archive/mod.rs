//! A journal as JSON lines: the first says whose it is, then come the notifications in order, with ranges declared where
//! there are none, then the keys, and last how many these were.
//!
//! In the second format a payload is a JSON string, which has it byte for byte, and a line is a line. In the first it was
//! part of the line as it is, over as many lines as its publisher wrote it on; ranges and the last line were not there.

mod export;
mod import;
mod key;
mod lines;
mod restore;
mod walk;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub(super) use export::{Exported, export};
pub(super) use import::{Manner, import};
pub(super) use key::{count as count_keys, findings as key_findings, settle as settle_keys};
pub(super) use walk::{Found, Holes, Joined, RowWalk, sum};

use crate::domain::Seq;

/// The form of the lines; a later one gets another number.
const FORMAT: u32 = 2;

/// The first position that is none: numbers from here on are not the same in every reader of JSON.
const END: Seq = 1 << 53;

/// A line. `P` is how the payload is at hand.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line<P> {
    /// Whose positions these are, and from where to where they were given.
    Journal {
        format: u32,
        epoch: String,
        oldest: Seq,
        newest: Seq,
    },
    Notification(Notification<P>),
    /// These positions hold nothing.
    Hole {
        from: Seq,
        to: Seq,
    },
    Key(key::Line),
    /// What there was before this line.
    End {
        notifications: u64,
        missing: u64,
        keys: u64,
    },
}

#[derive(Serialize, Deserialize)]
struct Notification<P> {
    seq: Seq,
    appended_at: i64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    expires_at: Option<i64>,
    audiences: Vec<String>,
    event: String,
    source: String,
    timestamp: String,
    payload: P,
}

/// A payload as it was read: how it is to be understood depends on the format.
type Raw = Box<RawValue>;

#[cfg(test)]
mod tests;
