//! How the database opens the file: as it is used to, or in the ways that are left where the disk is full or read-only.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// How a connection gets at the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// With what connections share in a file beside it.
    Usual,
    /// With what connections share in the memory of this process, for want of room beside the file: other processes cannot look.
    Alone,
    /// With what another process left beside it, which may not be written to.
    ReadOnly,
    /// As a file that nobody writes to; it has no write-ahead log.
    Frozen,
}

impl Access {
    /// The ways in which a file may be opened, the best first.
    pub(super) const ALL: [Self; 3] = [Self::Usual, Self::Alone, Self::Frozen];

    /// Whether a file that is opened so can be written to once there is the room for it. If not, all who have it open must let
    /// it go before it can be opened in a better way: what they share is of this one.
    pub(super) fn can_write(self) -> bool {
        matches!(self, Self::Usual | Self::Alone)
    }

    /// Opens the file to write, where that is possible, and to read.
    pub(super) fn open_writer(self, path: &Path) -> rusqlite::Result<Connection> {
        self.open(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)
    }

    /// Opens the file only to read.
    pub(super) fn open_reader(self, path: &Path) -> rusqlite::Result<Connection> {
        self.open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
    }

    fn open(self, path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        match self {
            Self::Usual | Self::ReadOnly => Connection::open_with_flags(path, flags),
            Self::Alone => Connection::open_with_flags_and_vfs(path, flags, "unix-excl"),
            Self::Frozen => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                Connection::open_with_flags(frozen(path), flags | OpenFlags::SQLITE_OPEN_URI)
            }
        }
    }
}

/// The file's name as a URI that says that nobody writes to it.
fn frozen(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => uri.push(char::from(*byte)),
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri + "?immutable=1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_in_every_way_whatever_its_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a name?with#odd%41 ñ.db");
        Connection::open(&path).and_then(|made| made.execute_batch("CREATE TABLE t (x)")).expect("a database");
        for access in Access::ALL {
            let connection = access.open_reader(&path).expect("opens");
            let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
            assert_eq!(tables, Ok(1), "{access:?}");
        }
    }
}
