//! Tasks and threads that live as long as the service: each has a name, and a handle that tells when it ended, and how.
//!
//! A module that starts one gives the handle to whoever asked it to, and does not know who watches. Nothing here says what
//! an end means.

use std::{
    borrow::Cow,
    io,
    thread::{self, Builder, JoinHandle},
};

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It returned, or was dropped.
    Ended,
    /// It panicked.
    Panicked,
}

/// What a test does to a worker. Builds for release cannot.
#[cfg(debug_assertions)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InjectedFault {
    /// A task ends; a thread panics all the same.
    End,
    /// It panics.
    Panic,
}

/// The handle of a task or thread that lives as long as the service.
#[derive(Debug, Clone)]
pub struct Worker {
    name: Cow<'static, str>,
    exit: watch::Receiver<Option<Exit>>,
    #[cfg(debug_assertions)]
    fault: watch::Sender<Option<InjectedFault>>,
}

impl Worker {
    /// A handle, and what the worker holds for as long as it lives.
    pub fn new(name: impl Into<Cow<'static, str>>) -> (Self, Lifeline) {
        let (ends, exit) = watch::channel(None);
        #[cfg(debug_assertions)]
        let fault = watch::Sender::new(None);
        let lifeline = Lifeline {
            exit: ends,
            #[cfg(debug_assertions)]
            fault: fault.subscribe(),
        };
        let worker = Self {
            name: name.into(),
            exit,
            #[cfg(debug_assertions)]
            fault,
        };
        (worker, lifeline)
    }

    /// Runs `work` on `tasks`.
    pub fn spawn(
        name: impl Into<Cow<'static, str>>,
        tasks: &TaskTracker,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let (worker, lifeline) = Self::new(name);
        tasks.spawn(lifeline.hold_during(work));
        worker
    }

    /// Runs `work` on a thread of its own, which has the worker's name. The thread is to meet the failpoint of what it is
    /// given each time that it has something to do.
    pub fn start_thread(
        name: impl Into<Cow<'static, str>>,
        work: impl FnOnce(&Lifeline) + Send + 'static,
    ) -> io::Result<(Self, JoinHandle<()>)> {
        let (worker, lifeline) = Self::new(name);
        let thread = Builder::new().name(worker.name().to_owned()).spawn(move || work(&lifeline))?;
        Ok((worker, thread))
    }

    /// Its name, as the log and health say it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits until it has ended and let go of all that it had.
    pub async fn ended(mut self) -> Exit {
        let exit = self.exit.wait_for(Option::is_some).await;
        exit.ok().and_then(|exit| *exit).unwrap_or(Exit::Ended)
    }

    /// Lets it end: a task at once, a thread when it has something to do.
    #[cfg(debug_assertions)]
    pub fn inject(&self, fault: InjectedFault) {
        self.fault.send_replace(Some(fault));
    }
}

/// What a worker holds for as long as it lives: the handle learns of its end when this is dropped.
#[derive(Debug)]
pub struct Lifeline {
    exit: watch::Sender<Option<Exit>>,
    #[cfg(debug_assertions)]
    fault: watch::Receiver<Option<InjectedFault>>,
}

impl Lifeline {
    #[cfg(not(debug_assertions))]
    async fn hold_during(self, work: impl Future<Output = ()>) {
        work.await;
    }

    #[cfg(debug_assertions)]
    async fn hold_during(mut self, work: impl Future<Output = ()>) {
        let broken = async {
            let fault = self.fault.wait_for(Option::is_some).await.ok().and_then(|fault| *fault);
            match fault {
                Some(InjectedFault::End) => {}
                Some(InjectedFault::Panic) => panic!("a test lets this task panic"),
                // Nobody has the handle.
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = broken => {}
            () = work => {}
        }
    }

    /// Where a test can let a thread panic; nothing at all in builds for release.
    #[inline]
    #[cfg_attr(not(debug_assertions), allow(clippy::unused_self, reason = "only tests look"))]
    pub fn failpoint(&self) {
        #[cfg(debug_assertions)]
        {
            let fault = *self.fault.borrow();
            assert!(fault.is_none(), "a test lets this thread panic");
        }
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        let exit = if thread::panicking() { Exit::Panicked } else { Exit::Ended };
        self.exit.send_replace(Some(exit));
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio_util::sync::CancellationToken;

    use super::*;

    #[tokio::test]
    async fn the_end_of_a_task_is_told_however_it_ends() {
        let tasks = TaskTracker::new();
        let asked = CancellationToken::new();
        let returning = Worker::spawn("returning", &tasks, asked.clone().cancelled_owned());
        asked.cancel();
        assert_eq!(returning.ended().await, Exit::Ended);
        let panicking = Worker::spawn("panicking", &tasks, async { panic!("on purpose") });
        assert_eq!(panicking.ended().await, Exit::Panicked);
        let (dropped, lifeline) = Worker::new("dropped");
        drop(lifeline.hold_during(pending()));
        assert_eq!(dropped.ended().await, Exit::Ended);
    }

    #[tokio::test]
    async fn the_end_of_a_thread_is_told_however_it_ends() {
        let (returning, _thread) = Worker::start_thread("returning", |_| {}).expect("a thread");
        assert_eq!(returning.ended().await, Exit::Ended);
        let (panicking, thread) = Worker::start_thread("panicking", |_| panic!("on purpose")).expect("a thread");
        assert_eq!(panicking.clone().ended().await, Exit::Panicked);
        assert!(thread.join().is_err());
        assert_eq!(panicking.name(), "panicking");
    }

    #[cfg(debug_assertions)]
    #[tokio::test]
    async fn a_fault_ends_what_it_is_injected_into() {
        let tasks = TaskTracker::new();
        for (fault, exit) in [(InjectedFault::End, Exit::Ended), (InjectedFault::Panic, Exit::Panicked)] {
            let worker = Worker::spawn("task", &tasks, pending());
            worker.inject(fault);
            assert_eq!(worker.ended().await, exit);
        }
        let busy = |lifeline: &Lifeline| loop {
            lifeline.failpoint();
            thread::yield_now();
        };
        let (worker, thread) = Worker::start_thread("thread", busy).expect("a thread");
        worker.inject(InjectedFault::Panic);
        assert_eq!(worker.ended().await, Exit::Panicked);
        assert!(thread.join().is_err());
    }
}
