//! An engine in one file, of which the service knows nothing but what the traits say. It keeps nothing itself, and does what an
//! engine with a store elsewhere may do at any time.

use std::{
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use exposia_notifications::{
    clock::System,
    config::Config,
    domain::{Audience, Break, Delivery, Ephemeral, Epoch, Interest, Seq},
    journal::{
        Answer, Append, Attend, Attendance, Bounds, CommitFanout, CommitStream, Entry, Error, Follow, Incarnation,
        Journal, Memory, Page, Query, Read, Relay,
    },
    worker::Worker,
};
use parking_lot::Mutex;
use tokio::task::{AbortHandle, yield_now};

/// A journal that has its moods.
#[derive(Debug)]
pub(super) struct Moody {
    kept: Mutex<Kept>,
    way: Arc<Way>,
    /// What is relayed cannot be.
    pub(super) refuses: AtomicBool,
    /// What is appended is kept, and nobody is told so.
    pub(super) forgets_to_answer: AtomicBool,
}

/// From what is kept to those who follow.
#[derive(Debug, Default)]
struct Way {
    fanout: CommitFanout,
    /// What comes goes no further.
    swallows: AtomicBool,
    /// The last place that came.
    came: AtomicU64,
}

#[derive(Debug)]
struct Kept {
    journal: Arc<Memory>,
    lost: Vec<RangeInclusive<Seq>>,
    passing_on: AbortHandle,
}

impl Moody {
    pub(super) fn new() -> Arc<Self> {
        let way = Arc::default();
        let kept = Mutex::new(Kept::pass_on(&way));
        let (refuses, forgets_to_answer) = Default::default();
        Arc::new(Self { kept, way, refuses, forgets_to_answer })
    }

    fn journal(&self) -> Arc<Memory> {
        Arc::clone(&self.kept.lock().journal)
    }

    /// From now on nothing is delivered.
    pub(super) fn swallow(&self) {
        self.way.swallows.store(true, Ordering::Relaxed);
    }

    /// What was swallowed is to be read, and what comes is delivered again.
    pub(super) async fn fall_behind(&self) {
        let newest = self.bounds().newest;
        while self.way.came.load(Ordering::Relaxed) < newest {
            yield_now().await;
        }
        self.way.swallows.store(false, Ordering::Relaxed);
        self.interrupt(Break::Behind(newest)).await;
    }

    /// These places are lost. All before them was delivered.
    pub(super) async fn lose(&self, range: RangeInclusive<Seq>) {
        self.kept.lock().lost.push(range.clone());
        self.interrupt(Break::Lost(range)).await;
    }

    /// All of it is gone.
    pub(super) async fn begin_anew(&self) {
        {
            let mut kept = self.kept.lock();
            kept.passing_on.abort();
            *kept = Kept::pass_on(&self.way);
        }
        self.interrupt(Break::Anew).await;
    }

    async fn interrupt(&self, interruption: Break) {
        self.way.fanout.send([Delivery::Break(interruption)].into()).await;
    }
}

impl Kept {
    /// An empty journal, and what passes everything on that it gives.
    fn pass_on(way: &Arc<Way>) -> Self {
        let journal = Arc::new(Memory::new(&Config::defaults().journal, Arc::new(System::default())));
        let (mut commits, way) = (journal.commit_stream(), Arc::clone(way));
        let passing_on = tokio::spawn(async move {
            while let Some(batch) = commits.next().await {
                if let Some(Delivery::Notification(last)) = batch.last() {
                    way.came.store(last.notification.seq, Ordering::Relaxed);
                }
                if !way.swallows.load(Ordering::Relaxed) {
                    way.fanout.send(batch).await;
                }
            }
            way.fanout.end();
        });
        Self { journal, lost: Vec::new(), passing_on: passing_on.abort_handle() }
    }
}

impl Incarnation for Moody {
    fn epoch(&self) -> Epoch {
        self.journal().epoch()
    }
}

#[async_trait]
impl Append for Moody {
    async fn append(&self, entries: Vec<Entry>) -> Result<Answer, Error> {
        let answer = self.journal().append(entries).await?;
        if self.forgets_to_answer.load(Ordering::Relaxed) { Err(Error::Unknown) } else { Ok(answer) }
    }
}

#[async_trait]
impl Relay for Moody {
    async fn relay(&self, frame: Ephemeral) -> Result<(), Error> {
        if self.refuses.load(Ordering::Relaxed) {
            return Err(Error::Io("the store is away".to_owned()));
        }
        self.journal().relay(frame).await
    }
}

impl Follow for Moody {
    fn commit_stream(&self) -> CommitStream {
        self.way.fanout.follow()
    }

    fn end_commit_streams(&self) {
        self.journal().end_commit_streams();
    }
}

#[async_trait]
impl Read for Moody {
    fn bounds(&self) -> Bounds {
        self.journal().bounds()
    }

    async fn read(&self, query: Query) -> Result<Page, Error> {
        let mut page = self.journal().read(query).await?;
        page.lost.clone_from(&self.kept.lock().lost);
        let lost = page.lost.clone();
        page.notifications.retain(|kept| !lost.iter().any(|range| range.contains(&kept.seq)));
        Ok(page)
    }

    async fn count(&self, audiences: Vec<Audience>, after: Seq, until: Seq) -> Result<u64, Error> {
        self.journal().count(audiences, after, until).await
    }
}

#[async_trait]
impl Attend for Moody {
    async fn attend(&self, interests: &[Interest], since: Option<Seq>) -> Result<Attendance, Error> {
        self.journal().attend(interests, since).await
    }
}

#[async_trait]
impl Journal for Moody {
    fn workers(&self) -> Vec<Worker> {
        Vec::new()
    }

    async fn close(&self) -> Result<(), Error> {
        self.journal().close().await
    }
}
