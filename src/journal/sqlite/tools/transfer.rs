//! `export` and `import`: which files, and what is said.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Write},
    os::unix::fs::FileTypeExt,
    path::Path,
};

use rusqlite::Connection;

use crate::{
    domain::Seq,
    journal::sqlite::{
        ack_watermark::AckWatermark,
        archive::{self, Exported, Manner},
        files::Files,
        opening, schema,
        tools::{JournalToolError, open, part::Part},
    },
};

/// Exports the journal in `dir` to a file, or to `out`; then what there is to say goes to standard error.
pub(super) fn export(dir: &Path, file: Option<&Path>, out: &mut impl Write) -> Result<(), JournalToolError> {
    let connection = open::reader(dir)?;
    let acknowledged = open::acknowledged(&connection, dir)?;
    let Some(path) = file else {
        let exported = archive::export(&connection, acknowledged, &mut BufWriter::new(out))?;
        return say(&exported, &mut io::stderr());
    };
    let exported = match pipe(path)? {
        Some(pipe) => write(&connection, acknowledged, &pipe, |source| unwritable(path, source))?,
        None => {
            let part = Part::create(path)?;
            let exported = write(&connection, acknowledged, part.open(), |source| part.failed(source))?;
            part.keep()?;
            exported
        }
    };
    say(&exported, out)
}

fn unwritable(path: &Path, source: io::Error) -> JournalToolError {
    JournalToolError::File { path: path.to_owned(), source }
}

/// A pipe or a device with that name, in which nothing is lost by writing to it.
fn pipe(path: &Path) -> Result<Option<File>, JournalToolError> {
    match fs::metadata(path).map(|found| found.file_type()) {
        Ok(found) if found.is_fifo() || found.is_char_device() => {
            File::options().write(true).open(path).map(Some).map_err(|source| unwritable(path, source))
        }
        _ => Ok(None),
    }
}

/// Writes an export to `file`.
fn write(
    connection: &Connection,
    acknowledged: Option<Seq>,
    file: &File,
    failed: impl Fn(io::Error) -> JournalToolError,
) -> Result<Exported, JournalToolError> {
    archive::export(connection, acknowledged, &mut BufWriter::new(file)).map_err(|error| match error {
        JournalToolError::Output(source) => failed(source),
        other => other,
    })
}

fn say(exported: &Exported, out: &mut impl Write) -> Result<(), JournalToolError> {
    writeln!(out, "exported {} notifications and {} idempotency keys", exported.notifications, exported.keys)?;
    if exported.known_missing > 0 {
        writeln!(out, "{} notifications are known to be missing, and are declared", exported.known_missing)?;
    }
    if exported.unread_keys {
        writeln!(
            out,
            "some idempotency keys are damaged and were left out; what is sent again under them counts as new"
        )?;
    }
    if exported.damaged > 0 {
        writeln!(out, "{} notifications are damaged and were left out", exported.damaged)?;
        return Err(JournalToolError::Unsound);
    }
    Ok(())
}

/// Fills the journal in `dir`, which must be empty.
pub(super) fn import(
    dir: &Path,
    file: &Path,
    (keep_epoch, partial): (bool, bool),
    out: &mut impl Write,
) -> Result<(), JournalToolError> {
    let failed = |source| JournalToolError::File { path: file.to_owned(), source };
    let reader: Box<dyn io::Read> = match file.to_str() {
        Some("-") => Box::new(io::stdin()),
        _ => Box::new(File::open(file).map_err(failed)?),
    };
    let files = Files::take(dir)?;
    let connection = opening::open_to_write(&files, true)?;
    let empty = "SELECT oldest = 1 AND NOT EXISTS (SELECT 1 FROM blocks) FROM journal";
    if !connection.query_row(empty, [], |row| row.get(0))? {
        return Err(JournalToolError::NotEmpty(dir.to_owned()));
    }
    let imported = archive::import(&connection, BufReader::new(reader), Manner { keep_epoch, partial });
    let imported = imported.map_err(|error| match error {
        JournalToolError::Output(source) => failed(source),
        other => other,
    })?;
    schema::checkpoint(&connection, "TRUNCATE")?;
    let unusable = |source| JournalToolError::File { path: dir.to_owned(), source };
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(unusable)?;
    let schema::Ends { epoch, newest, .. } = schema::ends(&connection)?;
    AckWatermark::open(dir, epoch).and_then(|mut noted| noted.note(newest)).map_err(unusable)?;
    writeln!(out, "imported {} notifications and {} idempotency keys", imported.notifications, imported.keys)?;
    if imported.missing > 0 {
        writeln!(out, "{} notifications are missing; from now on that is known", imported.missing)?;
    }
    if imported.dropped_keys > 0 {
        let keys = imported.dropped_keys;
        writeln!(out, "{keys} idempotency keys of missing notifications were left out: these can be sent again")?;
    }
    let what = if keep_epoch { "was kept, and clients resume" } else { "is a new one, and clients start anew" };
    writeln!(out, "the epoch {what}")?;
    Ok(())
}
