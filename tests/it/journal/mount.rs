//! A small disk that can be filled up and made read-only.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::service::Home;

/// A file system in memory, mounted until this is dropped.
pub(super) struct Mount(TempDir);

impl Mount {
    /// One with room for some thousand small events.
    pub(super) fn new() -> Self {
        let mount = Self(tempfile::tempdir().expect("a folder"));
        mount.run("mount", &["-t", "tmpfs", "-o", "size=4m", "none"]);
        mount
    }

    pub(super) fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    /// A service that has its data there.
    pub(super) fn home(&self) -> Home {
        Home::new(&self.data(), &[])
    }

    /// One on which a service kept five events and ended, killed or by a signal.
    pub(super) async fn filled(killed: bool) -> (Self, Home) {
        let mount = Self::new();
        let home = mount.home();
        home.filled(5).await.end(killed).await;
        (mount, home)
    }

    /// Lets nobody write to it.
    pub(super) fn freeze(&self) {
        self.run("mount", &["-o", "remount,ro"]);
    }

    /// Lets everybody write to it again.
    pub(super) fn thaw(&self) {
        self.run("mount", &["-o", "remount,rw"]);
    }

    /// Takes this much of its room.
    pub(super) fn take(&self, bytes: usize) {
        fs::write(self.ballast(), vec![0; bytes]).expect("there is room");
    }

    /// Takes all the room that is left.
    pub(super) fn take_all(&self) {
        let mut ballast = File::create(self.ballast()).expect("a file");
        for size in [65_536, 4_096, 1] {
            while ballast.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Gives back what was taken.
    pub(super) fn give_back(&self) {
        fs::remove_file(self.ballast()).expect("something was taken");
    }

    fn ballast(&self) -> PathBuf {
        self.0.path().join("ballast")
    }

    fn run(&self, command: &str, arguments: &[&str]) {
        let at: &Path = self.0.path();
        let status = Command::new(command).args(arguments).arg(at).status().expect("it runs");
        assert!(status.success(), "{command}: {status}");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.run("umount", &["-l"]);
    }
}
