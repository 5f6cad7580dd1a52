//! Who may read the file now. The write-ahead log begins anew only at a moment when nobody reads what it holds, and where
//! somebody always does there is none: it would grow with all that is written. So the writer can ask for one.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

/// Admits those who read, except while the writer needs the file for itself.
#[derive(Debug, Default)]
pub(super) struct Admission {
    state: Mutex<State>,
    resumed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    reading: usize,
    suspended: bool,
}

/// The right to read, until it is dropped.
#[derive(Debug)]
pub(super) struct Pass(Arc<Admission>);

impl Admission {
    /// Waits for the right to read.
    pub(super) fn enter(self: &Arc<Self>) -> Pass {
        let mut state = self.state.lock();
        self.resumed.wait_while(&mut state, |state| state.suspended);
        state.reading += 1;
        Pass(Arc::clone(self))
    }

    /// Admits nobody until [`resume`](Self::resume), and says whether nobody reads any more.
    pub(super) fn suspend(&self) -> bool {
        let mut state = self.state.lock();
        state.suspended = true;
        state.reading == 0
    }

    pub(super) fn resume(&self) {
        self.state.lock().suspended = false;
        self.resumed.notify_all();
    }
}

impl Pass {
    /// Whether whoever reads is to give it back as soon as may be.
    pub(super) fn is_recalled(&self) -> bool {
        self.0.state.lock().suspended
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.state.lock().reading -= 1;
    }
}
