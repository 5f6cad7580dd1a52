//! Lets the oldest notifications go by hand.

use std::{io::Write, num::NonZeroU64, path::Path, time::Duration};

use chrono::TimeDelta;

use crate::{
    clock::{Clock, System},
    journal::sqlite::{
        files::Files,
        opening,
        retention::Retention,
        schema,
        tools::{JournalToolError, open},
    },
};

/// How many notifications go together.
const STEP: usize = 10_000;

pub(super) fn run(
    dir: &Path,
    keep_entries: Option<NonZeroU64>,
    older_than: Option<Duration>,
    out: &mut impl Write,
) -> Result<(), JournalToolError> {
    let path = open::existing(dir)?;
    let files = Files::take(dir)?;
    let connection = opening::open_to_write(&files, true)?;
    let max_age = older_than.and_then(|age| TimeDelta::from_std(age).ok()).unwrap_or(TimeDelta::MAX);
    let retention = Retention::new(keep_entries.map_or(u64::MAX, NonZeroU64::get), u64::MAX, max_age);
    let schema::Ends { oldest: first, newest, .. } = schema::ends(&connection)?;
    let mut oldest = first;
    loop {
        let aged = retention.aged(&connection, (oldest, newest), Some(System::default().wall()))?;
        let transaction = connection.unchecked_transaction()?;
        let kept = retention.apply(&transaction, (oldest, newest), aged, STEP)?;
        transaction.commit()?;
        let transaction = connection.unchecked_transaction()?;
        if retention.remove(&transaction, kept)? {
            transaction.commit()?;
        }
        if kept == oldest {
            break;
        }
        oldest = kept;
    }
    let size = || std::fs::metadata(&path).map_or(0, |file| file.len());
    schema::checkpoint(&connection, "TRUNCATE")?;
    let before = size();
    connection.execute_batch("VACUUM")?;
    schema::checkpoint(&connection, "TRUNCATE")?;
    let (gone, left) = (oldest - first, newest + 1 - oldest);
    writeln!(out, "{gone} notifications went, {left} are left; the file had {before} bytes and has {}", size())?;
    Ok(())
}
