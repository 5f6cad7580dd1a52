//! Power cuts: a run is recorded once, and what the disk might hold after a cut at any of its operations is started on.

use std::sync::Arc;

use rand::{RngExt, rngs::StdRng};
use tempfile::TempDir;

use super::{
    super::service::Home,
    Disk, Files, Whereabouts,
    image::Image,
    is_long, put, random,
    record::{self, Entry, Operation},
    workload::{Ledger, Plan, Promise, SMALL, is_sound},
};

/// As many operations as there are, about, until the log is carried over.
const SOON: usize = 200;

/// How many events a run has.
const EVENTS: u64 = 700;

/// A service's life on a recorded disk: its first start, a kill at some operation, another start, its end.
pub(super) struct Run {
    _folder: TempDir,
    home: Home,
    ledger: Arc<Ledger>,
    epoch: String,
    all_synced: bool,
    record: Vec<Entry>,
    /// Where in the record the first start was over, and where the end began.
    served: u64,
    ending: u64,
}

impl Run {
    /// Of 64 publishes `unsynced` ask for less than a sync. `fault` is asked of the disk in the second process.
    pub(super) async fn new(
        settings: &[(&'static str, &'static str)],
        unsynced: u32,
        fault: &[(&'static str, u64)],
        random: &mut StdRng,
    ) -> Self {
        let (folder, home) = Home::scratch(&[&SMALL, settings].concat());
        let disk = Arc::new(Disk::new(&home.data, folder.path()));
        let ledger = Arc::new(Ledger::default());
        let plan = Plan { until: EVENTS, unsynced, patient: !fault.is_empty() };

        let kill_at = random.random_range(300..1_000);
        let service = disk.recorded(&home, &[("DISK_KILL_AT", kill_at)]).start().await;
        let (_, epoch) = service.history().await;
        let served = disk.now();
        ledger.fill(&service, &disk, Plan { patient: false, ..plan }, random).await;
        assert!(ledger.acknowledgements() < plan.until, "the process was to be killed at operation {kill_at}");

        drop(service);
        let service = disk.recorded(&home, fault).start().await;
        ledger.fill(&service, &disk, plan, random).await;
        let ending = disk.now();
        service.stop().await;

        let record = record::read(&disk.log());
        let all_synced = settings.is_empty() && unsynced == 0;
        Self { home, ledger, epoch, all_synced, record, served, ending, _folder: folder }
    }

    /// Some operations to cut the power at, in their order.
    fn moments(&self, count: usize, random: &mut StdRng) -> Vec<usize> {
        let began = self.record.partition_point(|entry| entry.begins < self.served);
        let ending = self.record.partition_point(|entry| entry.begins < self.ending);
        // A descriptor is the same file's for most of the run.
        let is_sync = |number: &usize| matches!(self.record[*number].operation, Operation::Sync { .. });
        let syncs: Vec<_> = (began..self.record.len()).filter(is_sync).collect();
        let is_truncation = |number: &usize| matches!(self.record[*number].operation, Operation::Truncate { .. });
        let truncations: Vec<_> = (began..self.record.len()).filter(is_truncation).collect();
        let moment = |kind| match kind % 5 {
            0 => syncs[random.random_range(0..syncs.len())],
            // Around the end of a carry-over.
            1 if !truncations.is_empty() => {
                let truncation = truncations[random.random_range(0..truncations.len())];
                random.random_range(truncation.saturating_sub(20).max(began)..(truncation + 20).min(self.record.len()))
            }
            2 => random.random_range(ending..self.record.len()),
            _ => random.random_range(began..self.record.len()),
        };
        let mut moments: Vec<_> = (0..count).map(moment).collect();
        moments.sort_unstable();
        moments
    }

    /// Some operations soon behind the first that is like this.
    pub(super) fn moments_behind(
        &self,
        like: &dyn Fn(&Operation) -> bool,
        count: usize,
        random: &mut StdRng,
    ) -> Vec<usize> {
        let first = self.record.iter().position(|entry| like(&entry.operation)).expect("there is one");
        let end = self.record.len().min(first + SOON);
        let mut moments: Vec<_> = (0..count).map(|_| random.random_range(first + 1..end)).collect();
        moments.sort_unstable();
        moments
    }

    /// Cuts the power at each of these operations, and looks at what is left.
    pub(super) async fn is_cut(&self, moments: &[usize], random: &mut StdRng) {
        let mut image = Image::default();
        let mut done = 0;
        for (number, moment) in moments.iter().enumerate() {
            for entry in &self.record[done..*moment] {
                image.apply(&entry.operation, random);
            }
            done = *moment;
            let Entry { begins, operation } = &self.record[*moment];
            let place = format!("operation {moment} of {}: {}", self.record.len(), brief(operation));
            let mut left = Whereabouts { place, files: image.cut(operation, random) };
            if number % 4 == 3 {
                // The power goes again while it starts, or soon after.
                left.files = self.cut_again(&left.files, random).await;
                left.place.push_str(", and again in the start after it");
            }
            self.goes_on_from(&left.files, *begins, random).await;
        }
    }

    /// Starts on what is left of what was done before the place `until` in the record.
    async fn goes_on_from(&self, left: &Files, until: u64, random: &mut StdRng) {
        let folder = tempfile::tempdir().expect("a folder");
        let home = self.home.moved(&folder.path().join("data"));
        put(&home.data, left);
        let service = home.start().await;
        let promise =
            Promise { ledger: &self.ledger, epoch: &self.epoch, until, by_kill: false, all_synced: self.all_synced };
        promise.is_kept_by(&service, random).await;
        is_sound(&home).await;
        service.kill().await;
    }

    /// Starts on what is left, and gives what is left when the power goes meanwhile.
    async fn cut_again(&self, left: &Files, random: &mut StdRng) -> Files {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        put(&data, left);
        let mut image = Image::of(&data);
        let disk = Disk::new(&data, folder.path());
        disk.recorded(&self.home, &[]).start().await.kill().await;
        let record = record::read(&disk.log());
        let moment = random.random_range(0..record.len());
        record[..moment].iter().for_each(|entry| image.apply(&entry.operation, random));
        image.cut(&record[moment].operation, random)
    }
}

/// An operation without its bytes.
fn brief(operation: &Operation) -> String {
    match operation {
        Operation::Write { fd, offset, data } => {
            format!("Write {{ fd: {fd}, offset: {offset}, length: {} }}", data.len())
        }
        other => format!("{other:?}"),
    }
}

/// How many cuts a test has.
pub(super) fn cuts(normal: usize, long: usize) -> usize {
    if is_long() { long } else { normal }
}

// What was not recorded could not be cut: the record gives the directory as it is, byte for byte
#[tokio::test]
async fn a_record_without_a_cut_gives_the_directory() {
    let mut random = random("CUTS_SEED");
    let run = Run::new(&[], 20, &[], &mut random).await;
    let mut image = Image::default();
    run.record.iter().for_each(|entry| image.apply(&entry.operation, &mut random));
    let mut real = Image::of(&run.home.data).whole();
    real.retain(|name, _| !name.ends_with("-shm"));
    let recorded = image.whole();
    assert!(recorded.keys().eq(real.keys()), "{:?} {:?}", recorded.keys(), real.keys());
    for (name, content) in &real {
        assert!(recorded[name] == *content, "{name} has {} bytes, {} recorded", content.len(), recorded[name].len());
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_power_cut() {
    let mut random = random("CUTS_SEED");
    let run = Run::new(&[], 0, &[], &mut random).await;
    let moments = run.moments(cuts(15, 280), &mut random);
    run.is_cut(&moments, &mut random).await;
}

// A publisher that asks for less loses nothing of one that does not
#[tokio::test]
async fn what_was_synced_survives_a_power_cut_among_what_was_not() {
    let mut random = random("CUTS_SEED");
    let run = Run::new(&[], 60, &[], &mut random).await;
    let moments = run.moments(cuts(8, 120), &mut random);
    run.is_cut(&moments, &mut random).await;
}

// `DURABILITY=process`: what is missing is told by a new epoch
#[tokio::test]
async fn what_a_power_cut_took_is_told_by_a_new_epoch() {
    let mut random = random("CUTS_SEED");
    let run = Run::new(&[("DURABILITY", "process")], 0, &[], &mut random).await;
    let moments = run.moments(cuts(7, 100), &mut random);
    run.is_cut(&moments, &mut random).await;
}

/// A line that came to the disk up to some byte, with the old one behind it, if there is one that says more than either.
fn torn(old: &[u8], new: &[u8]) -> Option<Vec<u8>> {
    let shared = old.len().min(new.len());
    let mut torn = (1..shared).map(|at| [&new[..at], &old[at..]].concat());
    torn.find(|torn| torn.as_slice() > old.max(new))
}

// A note of what was acknowledged that came to the disk in part may say more than there ever was; that is no loss
#[tokio::test]
async fn a_note_that_was_torn_is_not_believed() {
    let mut random = random("CUTS_SEED");
    let run = Run::new(&[], 0, &[], &mut random).await;
    let (mut image, mut before) = (Image::default(), Vec::new());
    let mut tried = 0;
    for Entry { begins, operation } in &run.record {
        image.apply(operation, &mut random);
        let Operation::Write { fd, data, .. } = operation else { continue };
        if image.name(*fd) != Some("acknowledged") {
            continue;
        }
        let says_more = torn(&before, data);
        before.clone_from(data);
        let Some(torn) = says_more else { continue };
        let mut files = image.whole();
        files.insert("acknowledged".to_owned(), torn);
        let left = Whereabouts { place: "a torn note".to_owned(), files };
        run.goes_on_from(&left.files, *begins, &mut random).await;
        tried += 1;
        if tried == cuts(2, 20) {
            return;
        }
    }
    panic!("only {tried} notes could be torn so that they say more");
}
