//! A file that a tool writes: private, beside its place until it is whole and on the disk, and never over one that is there.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use crate::journal::sqlite::tools::JournalToolError;

/// A file on its way. It goes when this is dropped, unless it was kept.
pub(super) struct Part {
    path: PathBuf,
    file: PathBuf,
    open: File,
}

impl Part {
    /// Begins beside `file`, which must not be there.
    pub(super) fn create(file: &Path) -> Result<Self, JournalToolError> {
        refuse_taken(file)?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let path = file.with_file_name(format!(".{name}.{}.part", std::process::id()));
        let mut options = File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let open = options.open(&path).map_err(|source| JournalToolError::File { path: file.to_owned(), source })?;
        Ok(Self { path, file: file.to_owned(), open })
    }

    /// Where it is as long as it is on its way.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// To write to it.
    pub(super) fn open(&self) -> &File {
        &self.open
    }

    /// Gives it its name when it is on the disk, and says how long it is.
    pub(super) fn keep(self) -> Result<u64, JournalToolError> {
        let failed = |source| self.failed(source);
        self.open.sync_all().map_err(failed)?;
        let bytes = self.open.metadata().map_err(failed)?.len();
        if !rename_to_free(&self.path, &self.file).map_err(failed)? {
            // A file system that cannot look and rename in one: between the two another file could come to be there.
            refuse_taken(&self.file)?;
            fs::rename(&self.path, &self.file).map_err(failed)?;
        }
        let folder = self.file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(bytes)
    }

    /// Why it could not be written.
    pub(super) fn failed(&self, source: io::Error) -> JournalToolError {
        match source.kind() {
            io::ErrorKind::AlreadyExists => JournalToolError::Exists(self.file.clone()),
            _ => JournalToolError::File { path: self.file.clone(), source },
        }
    }
}

fn refuse_taken(file: &Path) -> Result<(), JournalToolError> {
    if fs::symlink_metadata(file).is_ok() { Err(JournalToolError::Exists(file.to_owned())) } else { Ok(()) }
}

/// Renames `from` where nothing has the name `to`; false where the file system does not know how.
#[cfg(target_os = "linux")]
fn rename_to_free(from: &Path, to: &Path) -> io::Result<bool> {
    use rustix::{
        fs::{CWD, RenameFlags, renameat_with},
        io::Errno,
    };

    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// No other system is asked.
#[cfg(not(target_os = "linux"))]
fn rename_to_free(_: &Path, _: &Path) -> io::Result<bool> {
    Ok(false)
}

impl Drop for Part {
    fn drop(&mut self) {
        for behind in ["", "-journal", "-wal", "-shm"] {
            let mut path = self.path.clone().into_os_string();
            path.push(behind);
            // Most of them were never there.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn part(file: &Path) -> Part {
        let part = Part::create(file).expect("begins");
        part.open().write_all(b"new").expect("writes");
        part
    }

    #[test]
    fn what_came_to_be_there_meanwhile_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        let late = part(&file);
        assert_eq!(part(&folder.path().join("another")).keep().expect("there is nothing"), 3);
        fs::write(&file, "another's").expect("writes");
        assert!(matches!(late.keep(), Err(JournalToolError::Exists(_))));
        assert_eq!(fs::read(&file).expect("there"), b"another's");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2);
    }
}
