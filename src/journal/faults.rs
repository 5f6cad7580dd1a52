//! What is wrong with a journal at present, by kind: each kind comes and goes by itself.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use crate::{clock::Clock, journal::Condition};

/// How long the disk may take before it is said to be slow.
const SLOW: Duration = Duration::from_secs(2);

/// How soon another line may follow that something is wrong: on a disk with next to no room a large commit fails and a small one
/// does not, as fast as they come.
const QUIET: Duration = Duration::from_secs(10);

/// The kinds of faults that a journal can have.
#[derive(Debug, Clone, Copy)]
pub(super) enum FaultKind {
    /// What is appended cannot be written down.
    Write,
    /// The file is no longer where it was.
    File,
    /// Something that was written down cannot be read.
    Damage,
    /// The clock may be wrong.
    Clock,
}

const KINDS: usize = 4;

/// The faults that a journal has now.
#[derive(Debug)]
pub(super) struct Faults {
    clock: Arc<dyn Clock>,
    kinds: Mutex<[Fault; KINDS]>,
    /// When the disk began to do what it does now, in milliseconds of the clock and one; 0 when it does nothing.
    writing_since: AtomicU64,
}

/// What is wrong of one kind, and what the log knows of it.
#[derive(Debug, Default)]
struct Fault {
    reason: Option<Arc<str>>,
    told: bool,
    last_told: Option<Duration>,
}

impl Fault {
    /// Takes the reason, and says whether the log is to have it.
    fn set(&mut self, reason: Option<&str>, now: Duration) -> bool {
        self.reason = reason.map(Arc::from);
        if reason.is_none() {
            return mem::take(&mut self.told);
        }
        let due = !self.told && self.last_told.is_none_or(|last| now.saturating_sub(last) >= QUIET);
        if due {
            self.told = true;
            self.last_told = Some(now);
        }
        due
    }
}

impl Faults {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, kinds: Mutex::default(), writing_since: AtomicU64::new(0) }
    }

    /// Says what is wrong of this kind; nothing, if it is well. Gives whether that is to be logged: what is wrong once for as
    /// long as it lasts, and not too often; that it is well, if the log has it that it was not.
    pub(super) fn set(&self, kind: FaultKind, reason: Option<&str>) -> bool {
        let now = self.clock.monotonic();
        self.kinds.lock()[kind as usize].set(reason, now)
    }

    pub(super) fn has(&self, kind: FaultKind) -> bool {
        self.kinds.lock()[kind as usize].reason.is_some()
    }

    /// The disk has something to do from now on, until what this gives is dropped.
    pub(super) fn writing(self: &Arc<Self>) -> Writing {
        let now = u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX - 1);
        let begun = self.writing_since.compare_exchange(0, now + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        Writing(begun.then(|| Arc::clone(self)))
    }

    /// All that is wrong, in one sentence.
    pub(super) fn condition(&self) -> Condition {
        let reasons: Vec<Arc<str>> = {
            let kinds = self.kinds.lock();
            self.slow().into_iter().chain(kinds.iter().filter_map(|fault| fault.reason.clone())).collect()
        };
        if reasons.is_empty() { Condition::Ok } else { Condition::Degraded(reasons.join("; ").into()) }
    }

    fn slow(&self) -> Option<Arc<str>> {
        let since = self.writing_since.load(Ordering::Relaxed).checked_sub(1)?;
        let lasts = self.clock.monotonic().checked_sub(Duration::from_millis(since)).filter(|lasts| *lasts >= SLOW)?;
        Some(format!("the disk is slow: a write has been under way for {} s", lasts.as_secs()).into())
    }
}

/// The disk has something to do. What is begun within another is a part of that.
#[derive(Debug)]
pub(super) struct Writing(Option<Arc<Faults>>);

impl Drop for Writing {
    fn drop(&mut self) {
        if let Some(faults) = &self.0 {
            faults.writing_since.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::clock::Manual;

    #[test]
    fn a_write_that_takes_too_long_is_told_while_it_lasts() {
        let clock = Arc::new(Manual::new(DateTime::UNIX_EPOCH));
        let faults = Arc::new(Faults::new(clock.clone()));
        let writing = faults.writing();
        drop(faults.writing());
        clock.advance(Duration::from_millis(1_999));
        assert_eq!(faults.condition(), Condition::Ok);
        clock.advance(Duration::from_millis(1));
        assert!(matches!(faults.condition(), Condition::Degraded(reason) if reason.contains("slow")));
        drop(writing);
        assert_eq!(faults.condition(), Condition::Ok);
    }

    #[test]
    fn what_is_wrong_is_told_together_and_goes_by_kind() {
        let faults = Faults::new(Arc::new(Manual::new(DateTime::UNIX_EPOCH)));
        assert!(faults.set(FaultKind::Clock, Some("late")));
        assert!(faults.set(FaultKind::Write, Some("full")));
        assert!(!faults.set(FaultKind::Write, Some("fuller")));
        assert_eq!(faults.condition(), Condition::Degraded("fuller; late".into()));
        faults.set(FaultKind::Write, None);
        assert_eq!(faults.condition(), Condition::Degraded("late".into()));
    }

    #[test]
    fn what_comes_and_goes_is_not_logged_each_time() {
        let clock = Arc::new(Manual::new(DateTime::UNIX_EPOCH));
        let faults = Faults::new(clock.clone());
        assert!(faults.set(FaultKind::Write, Some("full")));
        assert!(!faults.set(FaultKind::Write, Some("full")), "it is known");
        assert!(faults.set(FaultKind::Write, None));
        for _ in 0..1_000 {
            assert!(!faults.set(FaultKind::Write, Some("full")), "too soon");
            assert!(!faults.set(FaultKind::Write, None), "nobody was told");
        }
        assert!(!faults.set(FaultKind::Write, Some("full")));
        clock.advance(QUIET);
        assert!(faults.set(FaultKind::Write, Some("full")), "it lasts, and the log does not have it");
        assert!(faults.set(FaultKind::Write, None));
        assert!(!faults.set(FaultKind::Write, None));
    }
}
