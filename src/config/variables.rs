//! The variables that settings are read from: those of the environment, and behind them those of a file `.env`.
//!
//! The file is never put into the process's own environment: that would have to happen before there is a second thread, and whatever
//! the process starts would inherit its secrets.

use std::{
    collections::HashMap,
    env,
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
};

/// What some editors write before a text in UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// The environment of the process, and what a `.env` adds to it.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    /// What the file says of variables that the environment does not have; of one that comes twice the first counts.
    file: HashMap<String, String>,
}

impl Variables {
    /// Reads the `.env` of the working directory, or of the nearest folder above it that has one.
    ///
    /// # Errors
    ///
    /// When there is one and it cannot be read, or a line of it makes no sense.
    pub fn read() -> Result<Self, dotenvy::Error> {
        let text = match find().and_then(|found| found.map(fs::read).transpose()) {
            Ok(text) => text.unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::NotFound || is_out_of_reach(&error) => Vec::new(),
            Err(error) => return Err(dotenvy::Error::Io(error)),
        };
        let text = text.strip_prefix(BOM).unwrap_or(&text);
        let mut file = HashMap::new();
        for line in dotenvy::from_read_iter(text) {
            let (name, value) = line?;
            if env::var_os(&name).is_none() {
                file.entry(name).or_insert(value);
            }
        }
        Ok(Self { file })
    }

    /// The value of a variable, wherever it is set.
    pub(super) fn get(&self, name: impl AsRef<OsStr>) -> Option<OsString> {
        let name = name.as_ref();
        env::var_os(name).or_else(|| self.of_file(name).map(OsString::from))
    }

    /// The value of a variable that only the file sets.
    pub(super) fn of_file(&self, name: &OsStr) -> Option<&str> {
        self.file.get(name.to_str()?).map(String::as_str)
    }

    /// The names of all variables.
    pub(super) fn names(&self) -> impl Iterator<Item = OsString> {
        env::vars_os().map(|(name, _)| name).chain(self.file.keys().map(OsString::from))
    }
}

/// The nearest `.env`, from the working directory upwards.
fn find() -> io::Result<Option<PathBuf>> {
    for folder in env::current_dir()?.ancestors() {
        let candidate = folder.join(".env");
        match fs::metadata(&candidate) {
            Ok(found) if found.is_file() => return Ok(Some(candidate)),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(None)
}

/// Whether a `.env` was looked for in a folder that may not be entered: it has none that is meant for this process.
fn is_out_of_reach(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied && !Path::new(".env").try_exists().unwrap_or(false)
}
