//! Reads an export, a value at a time, with the line on which each begins.

use std::io::{self, BufRead, Read};

use crate::journal::sqlite::{
    archive::{Line, Raw},
    tools::JournalToolError,
};

/// The longest value: more than a row of the database can have.
const MAX_BYTES: u64 = 2 << 30;

/// What is at the next line.
pub(super) enum NextLine {
    /// A value, with the line on which it begins.
    Line(usize, Line<Raw>),
    /// A value that was cut off by the end of the file.
    Cut,
    /// The end of the file.
    End,
}

/// An export that is read.
pub(super) struct Lines<R> {
    reader: R,
    /// How many lines were read.
    pub(super) read: usize,
    /// A value may go on over several lines.
    pub(super) long_values: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, read: 0, long_values: true }
    }

    pub(super) fn next(&mut self) -> Result<NextLine, JournalToolError> {
        let mut text = Vec::new();
        while is_blank(&text) {
            text.clear();
            if !self.read_line(&mut text)? {
                return Ok(NextLine::End);
            }
            if self.read == 1 && text.starts_with(b"\xef\xbb\xbf") {
                text.drain(..3);
            }
        }
        let (first, mut depth, mut looked_at) = (self.read, Depth::default(), 0);
        while self.long_values {
            depth.follow(&text[looked_at..]);
            looked_at = text.len();
            if depth.is_closed() || !self.read_line(&mut text)? {
                break;
            }
        }
        match serde_json::from_slice(&text) {
            Ok(line) => Ok(NextLine::Line(first, line)),
            Err(error) if error.is_eof() && self.is_at_end()? => Ok(NextLine::Cut),
            Err(error) => {
                let (line, column) = (first + error.line().max(1) - 1, error.column());
                let what = error.to_string();
                let what = what.rsplit_once(" at line ").map_or(what.as_str(), |(what, _)| what);
                Err(JournalToolError::Line { line, reason: format!("{what} (column {column})") })
            }
        }
    }

    /// Adds the next line to `text`; false when there is none.
    fn read_line(&mut self, text: &mut Vec<u8>) -> Result<bool, JournalToolError> {
        let room = MAX_BYTES.saturating_sub(text.len() as u64);
        let bytes = self.reader.by_ref().take(room).read_until(b'\n', text)?;
        if bytes as u64 == room {
            return Err(JournalToolError::Line {
                line: self.read + 1,
                reason: "it is too long for an export".to_owned(),
            });
        }
        self.read += usize::from(bytes > 0);
        Ok(bytes > 0)
    }

    fn is_at_end(&mut self) -> io::Result<bool> {
        self.reader.fill_buf().map(<[u8]>::is_empty)
    }
}

fn is_blank(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_whitespace)
}

/// How deep in objects and lists a text is.
#[derive(Default)]
struct Depth {
    open: i64,
    in_string: bool,
    escaped: bool,
}

impl Depth {
    fn follow(&mut self, text: &[u8]) {
        for byte in text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                b'{' | b'[' if !self.in_string => self.open += 1,
                b'}' | b']' if !self.in_string => self.open -= 1,
                _ => {}
            }
        }
    }

    fn is_closed(&self) -> bool {
        self.open <= 0 && !self.in_string
    }
}
