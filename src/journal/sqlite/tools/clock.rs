//! The operator's word that the clock is right: what was stamped by one that was ahead no longer holds the rest up.
//!
//! When a row of the future was really written nobody knows, but that it was not after what was stamped rightly behind it.
//! That is what it counts as from now on, so that it is not let go of too soon. Its stamp stays, as clients saw it.

use std::{io::Write, path::Path};

use chrono::SecondsFormat;
use rusqlite::{Connection, OptionalExtension};

use crate::{
    clock::{Clock, System},
    journal::{
        log::millis,
        sqlite::{
            archive,
            files::Files,
            opening, schema,
            tools::{JournalToolError, open},
        },
    },
};

/// How many rows are written in one commit.
const STEP: usize = 256;

pub(super) fn run(dir: &Path, out: &mut impl Write) -> Result<(), JournalToolError> {
    open::existing(dir)?;
    let files = Files::take(dir)?;
    let connection = opening::open_to_write(&files, true)?;
    let now = System::default().wall();
    let (rows, keys) = settle(&connection, millis(now), STEP)?;
    schema::checkpoint(&connection, "TRUNCATE")?;
    let now = now.to_rfc3339_opts(SecondsFormat::Secs, true);
    writeln!(out, "it is {now}; {rows} rows of notifications and {keys} of idempotency keys were of the future")?;
    writeln!(out, "what is too old goes again from the next start on")?;
    Ok(())
}

/// Settles all that lies after `now`, `step` rows a commit. Whatever ends it, the next time goes on where it was.
fn settle(connection: &Connection, now: i64, step: usize) -> rusqlite::Result<(usize, usize)> {
    let (mut rows, mut keys) = (0, 0);
    let mut settled = Settled::default();
    loop {
        let transaction = connection.unchecked_transaction()?;
        let count = settled.rows(&transaction, now, step)?;
        transaction.commit()?;
        rows += count;
        if count < step {
            break;
        }
    }
    loop {
        let transaction = connection.unchecked_transaction()?;
        let count = archive::settle_keys(&transaction, now, step)?;
        if count < step {
            transaction.execute("UPDATE journal SET held_ms = 0", [])?;
        }
        transaction.commit()?;
        keys += count;
        if count < step {
            return Ok((rows, keys));
        }
    }
}

/// How far the rows are settled.
#[derive(Debug, Default)]
struct Settled {
    /// The last row that was settled; what lies before it need not be looked at again.
    last: i64,
    /// Where the next row is found that was stamped rightly, and that stamp; `now` if there is none.
    next_right: Option<(i64, i64)>,
}

impl Settled {
    /// Settles at most `most` rows, from the first on that counts as later than `now`, and says how many these were.
    fn rows(&mut self, connection: &Connection, now: i64, most: usize) -> rusqlite::Result<usize> {
        let sql = "SELECT first, appended_at FROM blocks WHERE first > ?1 AND coalesce(reached_at, appended_at) > ?2 \
                   ORDER BY first LIMIT ?3";
        let mut rows = connection.prepare_cached(sql)?;
        let rows: Vec<(i64, i64)> = rows
            .query_map([self.last, now, most as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let Some((first, _)) = rows.first() else { return Ok(0) };
        let before =
            "SELECT coalesce(reached_at, appended_at) FROM blocks WHERE first < ?1 ORDER BY first DESC LIMIT 1";
        let before = connection.query_row(before, [first], |row| row.get(0)).optional()?;
        let mut reached_at: i64 = before.unwrap_or(i64::MIN);
        let mut write = connection.prepare_cached("UPDATE blocks SET reached_at = ?2 WHERE first = ?1")?;
        for (first, appended_at) in &rows {
            let at = if *appended_at <= now { *appended_at } else { self.right_behind(connection, *first, now)? };
            reached_at = reached_at.max(at);
            write.execute((first, reached_at))?;
            self.last = *first;
        }
        Ok(rows.len())
    }

    /// The first stamp behind the row `first` that is not later than `now`.
    fn right_behind(&mut self, connection: &Connection, first: i64, now: i64) -> rusqlite::Result<i64> {
        if let Some((position, stamp)) = self.next_right
            && first < position
        {
            return Ok(stamp);
        }
        let sql = "SELECT first, appended_at FROM blocks WHERE first > ?1 AND appended_at <= ?2 ORDER BY first LIMIT 1";
        let mut sql = connection.prepare_cached(sql)?;
        let found = sql.query_row([first, now], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let (position, stamp) = found.unwrap_or((i64::MAX, now));
        self.next_right = Some((position, stamp));
        Ok(stamp)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::journal::sqlite::{archive::Manner, check, keys};

    /// A journal with a row for each of these stamps, and a key that was used at `key`.
    fn journal(stamps: &[i64], key: i64) -> (tempfile::TempDir, Connection) {
        let folder = tempfile::tempdir().expect("a folder");
        let files = Files::take(folder.path()).expect("nobody has it");
        let connection = opening::open_to_write(&files, false).expect("opens");
        let newest = stamps.len();
        let mut text = format!("{{\"journal\":{{\"format\":2,\"epoch\":\"e\",\"oldest\":1,\"newest\":{newest}}}}}\n");
        for (seq, at) in (1..).zip(stamps) {
            text += &format!(
                "{{\"notification\":{{\"seq\":{seq},\"appended_at\":{at},\"audiences\":[\"*\"],\"event\":\"e\",\"source\":\"s\",\
                 \"timestamp\":\"t\",\"payload\":\"{{}}\"}}}}\n"
            );
        }
        let fingerprint = "ab".repeat(32);
        text +=
            &format!("{{\"key\":{{\"key\":\"k\",\"used_at\":{key},\"fingerprint\":\"{fingerprint}\",\"seq\":1}}}}\n");
        text += &format!("{{\"end\":{{\"notifications\":{newest},\"missing\":0,\"keys\":1}}}}\n");
        archive::import(&connection, Cursor::new(text), Manner::default()).expect("imports");
        connection.execute("UPDATE journal SET held_ms = 7", []).expect("writes");
        (folder, connection)
    }

    fn reached(connection: &Connection) -> Vec<i64> {
        let mut rows =
            connection.prepare("SELECT coalesce(reached_at, appended_at) FROM blocks ORDER BY first").expect("SQL");
        rows.query_map([], |row| row.get(0)).expect("rows").map(|row| row.expect("a row")).collect()
    }

    fn number(connection: &Connection, sql: &str) -> i64 {
        connection.query_row(sql, [], |row| row.get(0)).expect("a row")
    }

    // Stamps, what they count as when it is 100, and that again.
    const CASES: &[(&[i64], &[i64])] = &[
        (&[10, 20, 30], &[10, 20, 30]),
        (&[10, 900, 950, 20, 30], &[10, 20, 20, 20, 30]),
        (&[900, 20, 901, 10, 30], &[20, 20, 20, 20, 30]),
        (&[10, 900, 901], &[10, 100, 100]),
        (&[900, 901], &[100, 100]),
        (&[50, 900, 20, 900, 60, 30], &[50, 50, 50, 60, 60, 60]),
    ];

    #[test]
    fn what_is_of_the_future_counts_as_written_when_the_next_right_stamp_was() {
        for (stamps, expected) in CASES {
            let (_folder, connection) = journal(stamps, 900);
            settle(&connection, 100, 2).expect("settles");
            assert_eq!(reached(&connection), *expected, "{stamps:?}");
            let mut used_at = Vec::new();
            let read = keys::for_each(&connection, |key| {
                used_at.push(key.used_at);
                Ok::<_, rusqlite::Error>(())
            });
            assert_eq!((read, used_at), (Ok(0), vec![100]));
            assert_eq!(number(&connection, "SELECT held_ms FROM journal"), 0);
            let mut findings = Vec::new();
            check::findings(&connection, None, |_, finding| findings.push(finding)).expect("reads");
            assert_eq!(findings, [""; 0], "{stamps:?}");
        }
    }

    #[test]
    fn it_goes_on_where_it_was_ended() {
        for (stamps, expected) in CASES {
            let (_folder, connection) = journal(stamps, 50);
            // Ended after each commit, and begun anew.
            while Settled::default().rows(&connection, 100, 1).expect("settles") > 0 {}
            assert_eq!(reached(&connection), *expected, "{stamps:?}");
        }
    }
}
