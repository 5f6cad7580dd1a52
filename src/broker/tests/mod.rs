//! What publishers are told while the journal hangs, and what is held meanwhile.

mod batches;
mod closing;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use tokio::{
    sync::{Mutex, MutexGuard},
    task::{JoinSet, yield_now},
};

use super::*;
use crate::{
    clock::System,
    config::Config,
    domain::{DraftFields, Durability, Ephemeral, Epoch, IdempotencyKey, KeyOwner, Payload},
    journal::{Answer, Entry, Follow, Incarnation, Memory, Read},
    rooms,
};

/// A journal whose disk does nothing while somebody else has it.
#[derive(Debug)]
struct Hanging {
    memory: Memory,
    disk: Mutex<()>,
    /// The same for what is relayed.
    air: Mutex<()>,
    /// How many entries each append had that has come so far.
    came: parking_lot::Mutex<Vec<usize>>,
    /// How many frames have come to be relayed.
    relaying: AtomicUsize,
    /// How many appends are to fail.
    failing: AtomicUsize,
}

impl Hanging {
    /// How many appends have come so far.
    fn came(&self) -> usize {
        self.came.lock().len()
    }
}

impl Incarnation for Hanging {
    fn epoch(&self) -> Epoch {
        self.memory.epoch()
    }
}

#[async_trait]
impl Append for Hanging {
    async fn append(&self, entries: Vec<Entry>) -> Result<Answer, journal::Error> {
        self.came.lock().push(entries.len());
        let _disk = self.disk.lock().await;
        let fails = self.failing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if fails.is_ok() {
            return Err(journal::Error::Full);
        }
        self.memory.append(entries).await
    }
}

#[async_trait]
impl Relay for Hanging {
    async fn relay(&self, frame: Ephemeral) -> Result<(), journal::Error> {
        self.relaying.fetch_add(1, Ordering::Relaxed);
        let _air = self.air.lock().await;
        self.memory.relay(frame).await
    }
}

const TIMEOUT: Duration = Duration::from_secs(3);

/// A broker that runs on a journal that can be made to hang.
struct Scene {
    journal: Arc<Hanging>,
    broker: Handle,
    closing: CancellationToken,
    /// The broker's task.
    task: Worker,
}

impl Scene {
    fn new(change: impl FnOnce(&mut Options)) -> Self {
        let mut config = Config::defaults();
        config.broker.publish_timeout = TIMEOUT;
        change(&mut config.broker);
        let clock: Arc<dyn Clock> = Arc::new(System::default());
        let memory = Memory::new(&config.journal, Arc::clone(&clock));
        let journal = Hanging {
            memory,
            disk: Mutex::default(),
            air: Mutex::default(),
            came: parking_lot::Mutex::default(),
            relaying: AtomicUsize::new(0),
            failing: AtomicUsize::new(0),
        };
        let journal = Arc::new(journal);
        let (writer, _) = rooms::split(NonZeroUsize::MIN);
        let broker = Broker::new(&config.broker, Rules::default(), (journal.clone(), journal.clone()), writer, clock);
        let (handle, closing) = (broker.handle(), CancellationToken::new());
        let task = broker.spawn(&TaskTracker::new(), closing.clone());
        Self { journal, broker: handle, closing, task }
    }

    async fn hang(&self) -> MutexGuard<'_, ()> {
        self.journal.disk.lock().await
    }

    /// Waits until the journal has this many.
    async fn until_kept(&self, count: u64) {
        while self.journal.memory.bounds().newest < count {
            yield_now().await;
        }
    }
}

fn fields() -> DraftFields {
    DraftFields::new("e", Payload::parse("{}".into()).expect("an object"))
}

fn draft(key: Option<&str>) -> Draft {
    let idempotency_key = key.and_then(|key| IdempotencyKey::new(KeyOwner::NOBODY, key));
    Draft::new(DraftFields { idempotency_key, ..fields() }).expect("a draft")
}

#[tokio::test(start_paused = true)]
async fn a_publish_is_answered_in_time_while_the_journal_hangs() {
    let scene = Scene::new(|_| {});
    let hung = scene.hang().await;
    let begin = Instant::now();
    let unknown = scene.broker.publish(draft(Some("key"))).await.expect_err("nobody knows");
    assert_eq!(begin.elapsed().as_secs(), TIMEOUT.as_secs());
    assert!(matches!(unknown, Error::Unknown), "{unknown:?}");
    assert_eq!(unknown.code(), Code::Unavailable);
    drop(hung);
    // It was kept, and the key makes the retry safe.
    let retried = scene.broker.publish(draft(Some("key"))).await.expect("well again");
    assert_eq!((retried.seq, retried.duplicate), (1, true));
}

// each waits from when it was taken in; what the journal says in time is told, in order
#[tokio::test(start_paused = true)]
async fn each_submission_has_a_time_of_its_own() {
    let scene = Scene::new(|_| {});
    let hung = scene.hang().await;
    let first = scene.broker.submit(vec![draft(None), draft(None)]).await.expect("a place");
    tokio::time::advance(TIMEOUT / 2).await;
    let second = scene.broker.submit(vec![draft(None)]).await.expect("a place");
    let outcomes = first.outcomes().await;
    assert!(matches!(outcomes[..], [Err(Error::Unknown), Err(Error::Unknown)]), "{outcomes:?}");
    drop(hung);
    let outcomes = second.outcomes().await;
    assert!(matches!(outcomes[..], [Ok(Accepted { seq: 3, .. })]), "{outcomes:?}");
}

// what waits for its place half of the time has the other half for the journal
#[tokio::test(start_paused = true)]
async fn the_place_and_the_journal_share_the_time() {
    let scene = Scene::new(|options| options.publish_queue_bytes = NonZeroUsize::MIN);
    let hung = scene.hang().await;
    let begin = Instant::now();
    let waiting = scene.broker.submit(vec![draft(None)]).await.expect("a place");
    let late = async {
        let late = scene.broker.submit(vec![draft(None)]).await.expect("the place of the first");
        assert!(matches!(late.outcomes().await[..], [Err(Error::Unknown)]));
        begin.elapsed()
    };
    let first = async {
        while scene.journal.came() == 0 {
            yield_now().await;
        }
        tokio::time::advance(TIMEOUT / 2).await;
        // The disk is for the first submission, and then for this again.
        drop(hung);
        let hung = scene.hang().await;
        assert!(matches!(waiting.outcomes().await[..], [Ok(_)]));
        hung
    };
    let (waited, _hung) = tokio::join!(late, first);
    assert_eq!(waited.as_secs(), TIMEOUT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_any_more_is_counted_until_the_journal_has_it() {
    const ROOM: usize = 10;
    let size = draft(None).size();
    let scene =
        Scene::new(|options| options.publish_queue_bytes = NonZeroUsize::new(ROOM * size).expect("not nothing"));
    let hung = scene.hang().await;
    let mut publishing = JoinSet::new();
    for _ in 0..5 * ROOM {
        let broker = scene.broker.clone();
        publishing.spawn(async move { broker.publish(draft(None)).await.expect_err("the journal hangs") });
    }
    let answers = publishing.join_all().await;
    let is_unknown = |error: &&Error| matches!(error, Error::Unknown);
    assert_eq!(answers.iter().filter(is_unknown).count(), ROOM);
    assert!(answers.iter().all(|error| matches!(error, Error::Unknown | Error::Full)), "{answers:?}");
    // Their publishers are gone, and they are in memory still.
    assert!(matches!(scene.broker.publish(draft(None)).await, Err(Error::Full)));
    drop(hung);
    scene.until_kept(ROOM as u64).await;
    assert_eq!(scene.broker.publish(draft(None)).await.expect("there is room again").seq, ROOM as u64 + 1);
    assert_eq!(scene.broker.bytes.available_permits(), ROOM * size);
}

// as before the journal's time counted: who is not to wait for a place waits for the journal all the same
#[tokio::test(start_paused = true)]
async fn without_a_time_for_the_place_there_is_one_for_the_journal() {
    let scene = Scene::new(|options| options.publish_timeout = Duration::ZERO);
    assert_eq!(scene.broker.publish(draft(None)).await.expect("there is a place").seq, 1);
    let _hung = scene.hang().await;
    assert!(matches!(scene.broker.publish(draft(None)).await, Err(Error::Unknown)));
}

#[tokio::test(start_paused = true)]
async fn a_time_beyond_all_times_is_for_ever() {
    let scene = Scene::new(|options| options.publish_timeout = Duration::MAX);
    assert_eq!(scene.broker.publish(draft(None)).await.expect("it is kept").seq, 1);
}

fn passing() -> Draft {
    Draft::new(DraftFields { durability: Some(Durability::Ephemeral), ..fields() }).expect("a draft")
}

/// Submits one draft after the other until the journal has as many appends in hand as it may.
async fn fill(scene: &Scene) -> Vec<Pending> {
    let mut waiting = Vec::new();
    for came in 1..=task::MAX_IN_FLIGHT {
        waiting.push(scene.broker.submit(vec![draft(None)]).await.expect("a place"));
        while scene.journal.came() < came {
            yield_now().await;
        }
    }
    waiting
}

// what is kept nowhere needs no journal, however many appends hang in it
#[tokio::test(start_paused = true)]
async fn what_is_not_kept_goes_out_while_the_journal_hangs() {
    let scene = Scene::new(|_| {});
    let mut commits = scene.journal.memory.commit_stream();
    let _hung = scene.hang().await;
    let (begin, _waiting) = (Instant::now(), fill(&scene).await);
    let _behind = scene.broker.submit(vec![draft(None)]).await.expect("a place in the queue");
    for _ in 0..3 {
        let relayed = scene.broker.publish(passing()).await.expect("it is relayed");
        assert_eq!((relayed.seq, relayed.durability), (0, Some(Durability::Ephemeral)));
        commits.next().await.expect("it goes out");
    }
    assert!(begin.elapsed().is_zero(), "nobody waited");
}

// of what one publisher submits together, each draft has its own outcome
#[tokio::test(start_paused = true)]
async fn what_went_out_is_not_told_unknown_with_what_waits_for_the_journal() {
    let scene = Scene::new(|_| {});
    let hung = scene.hang().await;
    let drafts = || vec![draft(None), passing(), draft(None), passing()];
    let outcomes = scene.broker.submit(drafts()).await.expect("a place").outcomes().await;
    let [Err(Error::Unknown), Ok(first), Err(Error::Unknown), Ok(second)] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert_eq!((first.seq, second.seq), (0, 0));
    drop(hung);
    scene.until_kept(2).await;
    let outcomes = scene.broker.submit(drafts()).await.expect("a place").outcomes().await;
    let seqs: Vec<_> = outcomes.into_iter().map(|outcome| outcome.expect("well again").seq).collect();
    assert_eq!(seqs, [3, 0, 4, 0]);
    assert_eq!(scene.broker.bytes.available_permits(), scene.broker.max_bytes);
}

// what the rules refuse never was on its way to the journal
#[tokio::test(start_paused = true)]
async fn what_is_refused_is_told_at_once_while_the_journal_hangs() {
    let scene = Scene::new(|_| {});
    let _hung = scene.hang().await;
    let _waiting = scene.broker.submit(vec![draft(None)]).await.expect("a place");
    let payload = Payload::parse(format!(r#"{{"temaId":"{}"}}"#, "x".repeat(200)).into()).expect("an object");
    let draft = Draft::new(DraftFields { payload, ..fields() }).expect("a draft");
    let refused = scene.broker.publish(draft).await;
    assert!(matches!(refused, Err(Error::Route(_))), "{refused:?}");
}
