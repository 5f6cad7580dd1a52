use super::*;
use crate::journal::sqlite::files::Files;

/// A journal with one notification, for those who read it and for those who write to it.
struct File {
    reader: Connection,
    writer: Connection,
    read_gate: Arc<ReadGate>,
    files: Files,
    _dir: tempfile::TempDir,
}

impl File {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let files = Files::take(dir.path()).expect("a directory");
        let writer = opening::open_to_write(&files, false).expect("opens");
        let file = Self {
            reader: opening::open_reader(&files.path(), Access::Usual).expect("opens"),
            writer,
            read_gate: Arc::new(ReadGate::new(Access::Usual)),
            files,
            _dir: dir,
        };
        file.index(1);
        file
    }

    /// A snapshot that no test is too slow for.
    fn snapshot(&self) -> Snapshot<'_> {
        Snapshot::take(&self.reader, self.read_gate.enter(), Duration::from_secs(3_600)).expect("a snapshot")
    }

    fn index(&self, position: i64) {
        let segment = "INSERT INTO segments (first, last) VALUES (?1, ?1)";
        self.writer.execute(segment, [position]).expect("can be written to");
    }
}

fn job(before: Seq, work: impl FnOnce(Result<&Transaction<'_>, Error>) + Send + 'static) -> Job {
    let position = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("a place");
    Job { before, work: Box::new(work), _place: position }
}

/// A read of how far the index goes, which needs it up to `before`, and where its answer comes.
fn read(before: Seq) -> (Job, oneshot::Receiver<Seq>) {
    let (reply, answer) = oneshot::channel();
    let work = |snapshot: Result<&Transaction<'_>, Error>| {
        let end = index::end(snapshot.expect("a snapshot")).expect("can be read");
        reply.send(end).expect("somebody waits");
    };
    (job(before, work), answer)
}

/// What waits for a thread that reads.
fn waiting(jobs: impl IntoIterator<Item = Job>) -> Mutex<Receiver<Job>> {
    let (sender, receiver) = sync_channel(CAPACITY);
    jobs.into_iter().for_each(|job| sender.send(job).expect("somebody receives"));
    Mutex::new(receiver)
}

#[test]
fn those_who_wait_share_a_snapshot() {
    let file = File::new();
    let ((first, one), (second, other)) = (read(2), read(2));
    let snapshot = file.snapshot();
    file.index(2);
    assert!(snapshot.serve(first, &waiting([second])).is_none());
    assert_eq!((one.blocking_recv(), other.blocking_recv()), (Ok(1), Ok(1)));
}

// What memory lets go of has its index by then, but a snapshot that is older knows nothing of it.
#[test]
fn what_a_snapshot_has_no_index_of_is_read_from_another() {
    let file = File::new();
    let ((first, one), (second, other)) = (read(2), read(3));
    let jobs = waiting([second]);
    let snapshot = file.snapshot();
    file.index(2);
    let next = snapshot.serve(first, &jobs).expect("it needs another snapshot");
    assert!(file.snapshot().serve(next, &jobs).is_none());
    assert_eq!((one.blocking_recv(), other.blocking_recv()), (Ok(1), Ok(2)));
}

#[test]
fn a_snapshot_that_ended_with_a_read_is_not_used_again() {
    let file = File::new();
    let (second, other) = read(0);
    let first = job(0, |snapshot| snapshot.expect("a snapshot").execute_batch("ROLLBACK").expect("ends"));
    let jobs = waiting([second]);
    let next = file.snapshot().serve(first, &jobs).expect("not served");
    assert!(file.snapshot().serve(next, &jobs).is_none());
    assert_eq!(other.blocking_recv(), Ok(1));
}

#[test]
fn a_snapshot_that_the_writer_waits_for_is_let_go() {
    let file = File::new();
    let ((first, _one), (second, _other)) = (read(2), read(2));
    let snapshot = file.snapshot();
    assert!(!file.read_gate.suspend());
    assert!(snapshot.serve(first, &waiting([second])).is_some());
    assert!(file.read_gate.suspend());
}

#[test]
fn a_read_that_panics_takes_nobody_along() {
    let file = File::new();
    let (second, other) = read(0);
    let first = job(0, |_| panic!("a damaged row, say"));
    assert!(file.snapshot().serve(first, &waiting([second])).is_none());
    assert_eq!(other.blocking_recv(), Ok(1));
}

#[tokio::test]
async fn whoever_waits_is_served_before_the_threads_end() {
    let file = File::new();
    let (snapshots, _) = Snapshots::open(&file.files.path(), &file.read_gate).expect("opens");
    let snapshots = Arc::new(snapshots);
    let asked: Vec<_> = (0..CAPACITY)
        .map(|_| {
            let snapshots = Arc::clone(&snapshots);
            async move { snapshots.with(2, |_| Ok(())).await }
        })
        .collect();
    let mut asked = Box::pin(futures_util::future::join_all(asked));
    assert!(futures_util::poll!(&mut asked).is_pending());
    let closing = Arc::clone(&snapshots);
    tokio::task::spawn_blocking(move || closing.close()).await.expect("closes");
    assert!(asked.await.iter().all(Result::is_ok));
    assert!(matches!(snapshots.with(2, |_| Ok(())).await, Err(Error::Closed)));
}
