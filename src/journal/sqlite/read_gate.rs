//! The gate that says who may read the file now. The write-ahead log begins anew only at a moment when nobody reads what it holds, and where
//! somebody always does there is none: it would grow with all that is written. So the writer can ask for one.

use std::{sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex};

use crate::journal::sqlite::access::Access;

/// Admits those who read, except while the writer needs the file for itself.
#[derive(Debug)]
pub(super) struct ReadGate {
    state: Mutex<State>,
    resumed: Condvar,
    /// Nobody reads any more.
    alone: Condvar,
}

#[derive(Debug)]
struct State {
    reading: usize,
    suspended: bool,
    access: Access,
}

/// The right to read, until it is dropped.
#[derive(Debug)]
pub(super) struct ReadGuard {
    read_gate: Arc<ReadGate>,
    /// How the file is to be opened.
    pub(super) access: Access,
}

impl ReadGate {
    /// Makes a gate to a file that readers open with `access`.
    pub(super) fn new(access: Access) -> Self {
        let state = State { reading: 0, suspended: false, access };
        Self { state: Mutex::new(state), resumed: Condvar::new(), alone: Condvar::new() }
    }

    /// Says that the file is opened in another way from now on.
    pub(super) fn set_access(&self, access: Access) {
        self.state.lock().access = access;
    }

    /// Waits for the right to read.
    pub(super) fn enter(self: &Arc<Self>) -> ReadGuard {
        let mut state = self.state.lock();
        self.resumed.wait_while(&mut state, |state| state.suspended);
        state.reading += 1;
        ReadGuard { read_gate: Arc::clone(self), access: state.access }
    }

    /// Admits nobody until [`resume`](Self::resume), and says whether nobody reads any more.
    pub(super) fn suspend(&self) -> bool {
        let mut state = self.state.lock();
        state.suspended = true;
        state.reading == 0
    }

    /// Admits nobody until [`resume`](Self::resume), waits at most `patience` until nobody reads, and says whether nobody does.
    pub(super) fn suspend_within(&self, patience: Duration) -> bool {
        let mut state = self.state.lock();
        state.suspended = true;
        self.alone.wait_while_for(&mut state, |state| state.reading > 0, patience);
        state.reading == 0
    }

    pub(super) fn resume(&self) {
        self.state.lock().suspended = false;
        self.resumed.notify_all();
    }
}

impl ReadGuard {
    /// Whether whoever reads is to give it back as soon as may be.
    pub(super) fn is_recalled(&self) -> bool {
        self.read_gate.state.lock().suspended
    }
}

impl Drop for ReadGuard {
    fn drop(&mut self) {
        let mut state = self.read_gate.state.lock();
        state.reading -= 1;
        if state.reading == 0 {
            self.read_gate.alone.notify_all();
        }
    }
}
