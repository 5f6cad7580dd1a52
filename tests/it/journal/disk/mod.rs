//! A simulated disk: what the process does to its directory is recorded, and from the record comes what a disk might hold
//! after a power cut at any moment. `tests/disk/record.c` records; it also fails syncs and kills at an exact operation.

mod cuts;
mod first_start;
mod image;
pub(super) mod migration;
mod record;
mod syncs;
mod workload;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::LazyLock,
};

use rand::{SeedableRng, rngs::StdRng};

use super::service::{Home, within};

/// The library that is loaded into the process, made once for all tests of this run.
static LIBRARY: LazyLock<PathBuf> = LazyLock::new(|| {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/disk/record.c");
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("disk.so");
    let made = library.with_extension(format!("{}.so", process::id()));
    let flags = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"];
    let status = Command::new("cc").args(flags).arg(&made).arg(source).status().expect("a C compiler, as the linker");
    assert!(status.success(), "{source}: {status}");
    // Another run of the tests may load it just now.
    fs::rename(&made, &library).expect("the same directory");
    library
});

/// A disk below one service.
#[derive(Debug)]
pub(super) struct Disk {
    data: PathBuf,
    /// What the tests keep beside the data.
    dir: PathBuf,
}

impl Disk {
    /// A disk for what is in `data`; what is needed beside it lies in `dir`.
    pub(super) fn new(data: &Path, dir: &Path) -> Self {
        // The database asks for the true path.
        fs::create_dir_all(data).expect("a directory");
        Self { data: data.canonicalize().expect("it is there"), dir: dir.to_owned() }
    }

    /// `home` on this disk, which does what `asked` says: see `tests/disk/record.c`.
    pub(super) fn below(&self, home: &Home, asked: &[(&'static str, u64)]) -> Home {
        let asked = asked.iter().map(|(name, number)| (*name, OsString::from(number.to_string())));
        let home = home.moved(&self.data).with(asked);
        home.with(
            [("LD_PRELOAD", (*LIBRARY).clone()), ("DISK_DIR", self.data.clone()), ("DISK_WELL", self.well())].map(os),
        )
    }

    /// Starts a service that is killed at an operation, or once it serves.
    pub(super) async fn start_and_kill_at(&self, home: &Home, operation: u64) {
        let mut process = self.below(home, &[("DISK_KILL_AT", operation)]).spawn(Stdio::null());
        let served = async { while reqwest::get(format!("http://{}/health", home.http())).await.is_err() {} };
        tokio::select! {
            ended = within("the kill", process.wait()) => drop(ended.expect("ends")),
            () = within("the kill or the start", served) => process.kill().await.expect("kills"),
        }
    }

    /// The same as [`below`](Self::below), recorded. All processes on one disk are of one run of a machine.
    pub(super) fn recorded(&self, home: &Home, asked: &[(&'static str, u64)]) -> Home {
        let boot = self.dir.join("boot_id");
        fs::write(&boot, format!("{}\n", self.dir.display())).expect("writes");
        self.below(home, asked).with([("DISK_LOG", self.log()), ("DISK_BOOT_ID", boot)].map(os))
    }

    /// Where the record is.
    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("record")
    }

    /// How long the record is: what was done up to now is before that.
    pub(super) fn now(&self) -> u64 {
        fs::metadata(self.log()).expect("a record").len()
    }

    /// Ends what was asked for until the disk is well.
    pub(super) fn mend(&self) {
        fs::write(self.well(), "").expect("writes");
    }

    fn well(&self) -> PathBuf {
        self.dir.join("well")
    }
}

fn os((name, value): (&'static str, PathBuf)) -> (&'static str, OsString) {
    (name, value.into_os_string())
}

/// Whether the random tests have their full length.
pub(super) fn is_long() -> bool {
    std::env::var_os("LONG_TESTS").is_some()
}

/// A source of chance, which can be had again by its seed.
pub(super) fn random(variable: &str) -> StdRng {
    let seed = std::env::var(variable).ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("{variable}={seed}");
    StdRng::seed_from_u64(seed)
}

/// The files of a directory.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// Makes `data` the directory with these files.
fn put(data: &Path, files: &Files) {
    if data.exists() {
        fs::remove_dir_all(data).expect("a directory of ours");
    }
    fs::create_dir_all(data).expect("a directory");
    for (name, content) in files {
        fs::write(data.join(name), content).expect("writes");
    }
}

/// Says where a test was when it failed, and keeps what it had begun with.
#[derive(Debug)]
pub(super) struct Whereabouts {
    pub(super) place: String,
    pub(super) files: Files,
}

impl Whereabouts {
    /// It began with what is in `data`.
    pub(super) fn at(place: String, data: &Path) -> Self {
        // A process that was killed may have made no directory.
        let files = if data.exists() { image::Image::of(data).whole() } else { Files::new() };
        Self { place, files }
    }
}

impl Drop for Whereabouts {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let kept = std::env::temp_dir().join(format!("disk-{}", rand::random::<u32>()));
            put(&kept, &self.files);
            eprintln!("it failed at {}; what was on the disk: {}", self.place, kept.display());
        }
    }
}
