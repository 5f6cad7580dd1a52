//! A new epoch by hand: positions that were given before belong to another history from now on.

use std::{fs::File, io::Write, path::Path};

use rusqlite::{Connection, OpenFlags};

use crate::{
    domain::{Epoch, Seq},
    journal::{
        Error,
        sqlite::{
            ack_watermark::{self, AckWatermark, Note},
            boot_id,
            files::{self, Files},
            log_file, opening,
            schema::{self, Kind},
            tools::JournalToolError,
        },
    },
};

pub(super) fn run(dir: &Path, accept_loss: bool, out: &mut impl Write) -> Result<(), JournalToolError> {
    let there = |name: &str| dir.join(name).exists();
    if !there(files::FILE) && !there(&format!("{}-wal", files::FILE)) && ack_watermark::read(dir) == Note::Absent {
        return Err(JournalToolError::Absent(dir.to_owned()));
    }
    let files = match Files::take(dir) {
        Err(Error::Lost { .. }) if accept_loss => Files::take_anew(dir),
        taken => taken,
    }?;
    // A process that ended behind a sync that failed has left it to this one to sync what it wrote.
    let log = log_file::of(&files.path());
    log_file::write_again(&log).map_err(|source| JournalToolError::File { path: log, source })?;
    let connection = Connection::open_with_flags(files.path(), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    match Kind::of(&connection, &files.path())? {
        Kind::Layout(layout) => renew(&connection, (dir, layout), accept_loss, out)?,
        Kind::New => {
            drop(connection);
            begin(&files, accept_loss, out)?;
        }
    }
    writeln!(out, "clients that come back are told that they could not be caught up, and hear everything that is new")?;
    Ok(())
}

/// Renews the epoch of a journal. Its layout stays: the next start sees to that.
fn renew(
    connection: &Connection,
    (dir, layout): (&Path, usize),
    accept_loss: bool,
    out: &mut impl Write,
) -> Result<(), JournalToolError> {
    let schema::Ends { epoch: before, newest, .. } = schema::ends(connection)?;
    let lost = ack_watermark::newest(dir, &before)
        .filter(|seq| *seq > newest && !boot_id::may_have_lost(connection).unwrap_or(false));
    match lost {
        Some(acknowledged) if !accept_loss => return Err(JournalToolError::Lost { acknowledged, newest }),
        Some(acknowledged) => writeln!(out, "places {} to {acknowledged} are given up", newest + 1)?,
        None => {}
    }
    let epoch = Epoch::from_random(rand::random());
    connection.pragma_update(None, "synchronous", "FULL")?;
    let transaction = connection.unchecked_transaction()?;
    transaction.execute("UPDATE journal SET epoch = ?1, unsynced_since_boot = NULL", [epoch.as_str()])?;
    if layout > 1 {
        transaction.execute("UPDATE journal SET is_copy = 0", [])?;
    }
    transaction.commit()?;
    note(dir, &epoch, newest)?;
    writeln!(out, "the epoch was {before} and is {epoch}; the next notification has the place {}", newest + 1)?;
    Ok(())
}

/// Begins a journal where there was one of which only what lies beside it is left.
fn begin(files: &Files, accept_loss: bool, out: &mut impl Write) -> Result<(), JournalToolError> {
    if !accept_loss {
        files::refuse_acknowledged(files.dir())?;
    }
    // Should this end in between, there is neither a journal nor a note, and the next start begins the same.
    ack_watermark::forget(files.dir())
        .map_err(|source| JournalToolError::File { path: files.dir().to_owned(), source })?;
    let connection = opening::open_to_write(files, true)?;
    let schema::Ends { epoch, newest, .. } = schema::ends(&connection)?;
    note(files.dir(), &epoch, newest)?;
    writeln!(out, "all that the journal held is given up; an empty one begins, and its epoch is {epoch}")?;
    Ok(())
}

/// Notes what counts as acknowledged from now on.
fn note(dir: &Path, epoch: &Epoch, newest: Seq) -> Result<(), JournalToolError> {
    let noted = AckWatermark::open(dir, epoch.clone()).and_then(|mut noted| noted.note(newest));
    noted
        .and_then(|()| File::open(dir)?.sync_all())
        .map_err(|source| JournalToolError::File { path: dir.to_owned(), source })
}
