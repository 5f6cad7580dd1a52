//! Taking the lines in. What is wrong with one is said with its number, and then nothing of the export is taken in.

use std::io::BufRead;

use rusqlite::Connection;

use crate::{
    domain::{Epoch, Seq},
    journal::sqlite::{
        archive::{
            END, FORMAT, Line, Notification, Raw,
            key::{self, ImportedKeys},
            lines::{Lines, NextLine},
            restore::Rows,
        },
        tools::JournalToolError,
    },
};

/// The longest epoch.
const MAX_EPOCH: usize = 64;

/// How an export is to be taken in.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::journal::sqlite) struct Manner {
    /// The epoch stays.
    pub(in crate::journal::sqlite) keep_epoch: bool,
    /// The export may have been cut, or lines of it removed.
    pub(in crate::journal::sqlite) partial: bool,
}

/// What an import brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::journal::sqlite) struct Imported {
    pub(in crate::journal::sqlite) notifications: u64,
    pub(in crate::journal::sqlite) keys: u64,
    /// How many positions hold nothing.
    pub(in crate::journal::sqlite) missing: u64,
    /// How many keys were left out, since they stand for a position that will be given to another notification.
    pub(in crate::journal::sqlite) dropped_keys: u64,
}

/// Fills an empty journal: all of it or, on an error, nothing.
pub(in crate::journal::sqlite) fn import(
    connection: &Connection,
    reader: impl BufRead,
    manner: Manner,
) -> Result<Imported, JournalToolError> {
    let transaction = connection.unchecked_transaction()?;
    let mut lines = Lines::new(reader);
    let header = header(&mut lines, manner)?;
    lines.long_values = header.format == 1;
    let next = header.oldest;
    let (rows, keys) = (Rows::new(&transaction), ImportedKeys::new(&transaction));
    let mut import = Import {
        connection: &transaction,
        manner,
        header,
        rows,
        keys,
        next,
        hole: None,
        first_missing: None,
        imported: Imported::default(),
        ended: false,
    };
    loop {
        match lines.next()? {
            NextLine::Line(number, line) => import.line(line).map_err(|refused| refused.at(number))?,
            NextLine::Cut if manner.partial => break,
            NextLine::End if manner.partial || import.is_whole() => break,
            NextLine::Cut | NextLine::End => return Err(JournalToolError::Cut { line: lines.read }),
        }
    }
    let imported = import.end()?;
    transaction.commit()?;
    Ok(imported)
}

/// The first line.
struct Header {
    format: u32,
    epoch: Epoch,
    oldest: Seq,
    newest: Seq,
}

fn header(lines: &mut Lines<impl BufRead>, manner: Manner) -> Result<Header, JournalToolError> {
    let refused = |reason: &str| JournalToolError::Line { line: 1, reason: reason.to_owned() };
    let (epoch, format, oldest, newest) = match lines.next()? {
        NextLine::Line(_, Line::Journal { format, epoch, oldest, newest }) => (epoch, format, oldest, newest),
        NextLine::End => return Err(refused("the file is empty")),
        _ => return Err(refused("this is no export of a journal: its first line would say so")),
    };
    if !(1..=FORMAT).contains(&format) {
        return Err(refused(&format!("the format is {format}, and this version knows up to {FORMAT}")));
    }
    if oldest == 0 || oldest > newest.saturating_add(1) || newest >= END {
        return Err(refused(&format!("there are no places from {oldest} to {newest}")));
    }
    let is_epoch = (1..=MAX_EPOCH).contains(&epoch.len()) && epoch.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_epoch {
        return Err(refused("the epoch must be a word of at most 64 letters and digits"));
    }
    let epoch = if manner.keep_epoch { Epoch::from_text(&epoch) } else { Epoch::from_random(rand::random()) };
    Ok(Header { format, epoch, oldest, newest })
}

/// Why a line is not taken in.
enum Refused {
    /// What it says is wrong.
    Line(String),
    /// It cannot be written down.
    File(rusqlite::Error),
}

impl Refused {
    fn at(self, line: usize) -> JournalToolError {
        match self {
            Self::Line(reason) => JournalToolError::Line { line, reason },
            Self::File(error) => error.into(),
        }
    }
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        Self::File(error)
    }
}

impl From<String> for Refused {
    fn from(reason: String) -> Self {
        Self::Line(reason)
    }
}

/// How far an import is.
struct Import<'c> {
    connection: &'c Connection,
    manner: Manner,
    header: Header,
    rows: Rows<'c>,
    keys: ImportedKeys<'c>,
    /// The position of which the next line must speak.
    next: Seq,
    /// What is missing before it, once something came before that.
    hole: Option<(Seq, Seq)>,
    first_missing: Option<Seq>,
    imported: Imported,
    /// The last line was there.
    ended: bool,
}

impl Import<'_> {
    fn line(&mut self, line: Line<Raw>) -> Result<(), Refused> {
        if self.ended {
            return Err("there must be nothing behind the last line of an export".to_owned().into());
        }
        match line {
            Line::Journal { .. } => Err("another export begins here".to_owned().into()),
            Line::Notification(notification) => self.notification(notification),
            Line::Hole { from, to } => {
                self.reach(from)?;
                if from > to || to > self.header.newest {
                    return Err(format!("there are no places from {from} to {to}").into());
                }
                self.miss(to);
                Ok(())
            }
            Line::Key(line) => self.key(&line),
            Line::End { notifications, missing, keys } => self.last(notifications, missing, keys),
        }
    }

    fn notification(&mut self, notification: Notification<Raw>) -> Result<(), Refused> {
        let Notification { seq, appended_at, .. } = notification;
        self.reach(seq)?;
        let notification = notification.restore(&self.header.epoch, self.header.format)?;
        if let Some((first, last)) = self.hole.take()
            && self.imported.notifications > 0
        {
            // What is missing before the first is gone, not a hole.
            let sql = "INSERT INTO holes (first, last, cause) VALUES (?1, ?2, 'import')";
            self.connection.prepare_cached(sql)?.execute((first as i64, last as i64))?;
        }
        self.rows.push(notification, appended_at)?;
        self.imported.notifications += 1;
        self.next = seq + 1;
        Ok(())
    }

    /// Goes on to the position `seq`, of which a line speaks.
    fn reach(&mut self, seq: Seq) -> Result<(), Refused> {
        let (next, newest) = (self.next, self.header.newest);
        if seq < next {
            return Err(format!("it has the place {seq}, and place {} came before it", next - 1).into());
        }
        if seq > newest {
            return Err(format!("it has the place {seq}, and the first line says that {newest} is the last").into());
        }
        if seq > next {
            self.may_lack(next, seq - 1)?;
            self.miss(seq - 1);
        }
        Ok(())
    }

    /// Whether positions may be missing without a word: the first format has none for it.
    fn may_lack(&self, first: Seq, last: Seq) -> Result<(), Refused> {
        if self.header.format == 1 || self.manner.partial {
            return Ok(());
        }
        let what = format!("places {first} to {last} are missing, and not declared: lines were lost or removed");
        Err(format!("{what}; `journal import --partial` takes in what there is").into())
    }

    /// Notes that there is nothing up to the position `last`.
    fn miss(&mut self, last: Seq) {
        self.first_missing.get_or_insert(self.next);
        self.imported.missing += last + 1 - self.next;
        self.hole = Some((self.hole.map_or(self.next, |(first, _)| first), last));
        self.next = last + 1;
    }

    fn key(&mut self, line: &key::Line) -> Result<(), Refused> {
        if !(1..END).contains(&line.seq()) {
            return Err(format!("there is no place {}", line.seq()).into());
        }
        // The positions behind the last notification will be given to others.
        let newest = self.hole.map_or(self.next, |(first, _)| first) - 1;
        if line.seq() > newest {
            self.imported.dropped_keys += 1;
            return Ok(());
        }
        if let Some(reason) = self.keys.push(line)? {
            return Err(reason.to_owned().into());
        }
        self.imported.keys += 1;
        Ok(())
    }

    fn last(&mut self, notifications: u64, missing: u64, keys: u64) -> Result<(), Refused> {
        if self.next <= self.header.newest {
            self.may_lack(self.next, self.header.newest)?;
        }
        let found =
            [self.imported.notifications, self.imported.missing, self.imported.keys + self.imported.dropped_keys];
        if found != [notifications, missing, keys] && !self.manner.partial {
            let [found, lacking, known] = found;
            let says = format!("it says {notifications} notifications, {missing} missing and {keys} keys");
            return Err(format!("{says}; there are {found}, {lacking} and {known}: lines were lost or removed").into());
        }
        self.ended = true;
        Ok(())
    }

    /// Whether the end of the file may be here.
    fn is_whole(&self) -> bool {
        self.ended || self.header.format == 1
    }

    /// Settles whose positions these are, and where they begin.
    fn end(mut self) -> Result<Imported, JournalToolError> {
        self.rows.end()?;
        self.keys.end()?;
        if self.next <= self.header.newest {
            self.miss(self.header.newest);
        }
        if let Some(first) = self.first_missing.filter(|_| self.manner.keep_epoch) {
            return Err(JournalToolError::KeptEpoch { missing: self.imported.missing, first });
        }
        let Header { epoch, oldest, .. } = &self.header;
        // Places behind the last notification that was there are given anew, under the new epoch.
        let sql = "UPDATE journal SET epoch = ?1, oldest = coalesce((SELECT min(first) FROM blocks), ?2)";
        self.connection.execute(sql, (epoch.as_str(), *oldest as i64))?;
        Ok(self.imported)
    }
}
