//! Who is to enqueue what: everybody what is for one of its audiences, in order, and nobody anything else.

use std::{sync::atomic::AtomicBool, thread};

use parking_lot::Mutex;

use super::*;
use crate::domain::{Break, Epoch, Event, Notification, Payload, Seq};

/// A member that keeps what it is to enqueue, and is to be flushed once for all that came since it was.
#[derive(Debug, Default)]
struct Recorder {
    seqs: Mutex<Vec<Seq>>,
    to_flush: AtomicBool,
}

impl Recorder {
    /// What it was to enqueue, each once, in the order in which it came first.
    fn heard(&self) -> Vec<Seq> {
        let mut seqs = self.seqs.lock().clone();
        assert!(seqs.is_sorted(), "what comes again comes before what is next: {seqs:?}");
        seqs.dedup();
        seqs
    }
}

impl Member for Recorder {
    fn enqueue(&self, delivery: &Delivery) -> bool {
        let Delivery::Notification(committed) = delivery else { panic!("nothing else is enqueued here: {delivery:?}") };
        self.seqs.lock().push(committed.notification.seq);
        !self.to_flush.swap(true, Ordering::Relaxed)
    }

    fn interrupt(&self, interruption: &Break) -> bool {
        panic!("nothing interrupts here: {interruption:?}")
    }

    fn flush(&self) {
        assert!(self.to_flush.swap(false, Ordering::Relaxed), "flushed without need");
    }

    fn name(&self) -> &str {
        "recorder"
    }
}

fn notification(seq: Seq, audiences: impl Into<Audiences>) -> Delivery {
    let payload = Payload::parse("{}".into()).expect("an object");
    let event = Event { name: "e".into(), payload, source: "".into(), timestamp: "".into() };
    Arc::new(Notification::new(Epoch::from_random(1), seq, event, audiences.into(), None)).into()
}

/// Offers `batch` to all shards and flushes whom that takes. Gives how many those were.
fn deliver(writer: &Writer, batch: &[Delivery]) -> usize {
    let mut to_flush = Vec::new();
    writer.shards().iter().for_each(|shard| shard.enqueue(batch, &mut to_flush));
    to_flush.iter().for_each(|member| member.flush());
    to_flush.len()
}

/// Three shards.
fn shards() -> (Writer, Reader) {
    split(NonZeroUsize::new(3).expect("not zero"))
}

/// A member that joins `interests`.
fn come(reader: &Reader, interests: &[Interest]) -> (Arc<Recorder>, Subscription) {
    let member = Arc::new(Recorder::default());
    let mut subscription = reader.subscribe(Arc::clone(&member) as _);
    interests.iter().for_each(|interest| subscription.join(interest.clone()));
    (member, subscription)
}

/// The same for one that keeps the list of what it joined itself.
fn enrol(reader: &Reader, interests: &[Interest]) -> (Arc<Recorder>, Membership) {
    let member = Arc::new(Recorder::default());
    let membership = reader.enrol(Arc::clone(&member) as _);
    interests.iter().for_each(|interest| membership.join(interest));
    (member, membership)
}

fn within(audience: Audience) -> Interest {
    Interest::In(audience)
}

#[test]
fn everybody_hears_what_is_for_it_in_order() {
    let (writer, reader) = shards();
    let everyone = || within(Audience::Everyone);
    let members: Vec<_> = (0..4)
        .flat_map(|_| {
            [
                (vec![everyone()], vec![1, 5]),
                (vec![everyone(), within(room("a"))], vec![1, 2, 4, 5, 6]),
                (vec![everyone(), within(room("b")), within(user("7"))], vec![1, 3, 4, 5, 6]),
                (vec![within(room("a")), within(room("b"))], vec![2, 3, 4, 5, 6]),
                (vec![Interest::Everything], vec![1, 2, 3, 4, 5, 6, 7]),
                (vec![], vec![]),
            ]
        })
        .map(|(interests, meant)| (come(&reader, &interests), meant))
        .collect();
    let batch = [
        notification(1, Audience::Everyone),
        notification(2, room("a")),
        notification(3, room("b")),
        notification(4, target(&["7"], &["a", "b"])),
        notification(5, Audiences::from_target(true, &[], &["a".into(), "b".into()]).expect("a target")),
        notification(6, target(&["8"], &["b", "a"])),
        notification(7, target(&["9"], &["nowhere"])),
    ];
    let (first, second) = batch.split_at(4);
    for part in [first, second] {
        assert_eq!(deliver(&writer, part), 4 * 5, "each is flushed once, whatever came");
    }
    for ((member, _subscription), meant) in &members {
        assert_eq!(member.heard(), *meant);
    }
}

#[test]
fn members_are_spread_over_the_shards() {
    let (writer, reader) = shards();
    let members: Vec<_> = (0..9).map(|_| come(&reader, &[within(room("a"))])).collect();
    let batch = [notification(1, room("a"))];
    for shard in writer.shards() {
        let mut to_flush = Vec::new();
        shard.enqueue(&batch, &mut to_flush);
        assert_eq!(to_flush.len(), 3);
    }
    assert!(members.iter().all(|(member, _)| *member.seqs.lock() == [1]), "each is in one of them");
}

#[tokio::test]
async fn whoever_leaves_hears_no_more_and_is_counted_nowhere() {
    let (writer, reader) = shards();
    let (member, membership) = enrol(&reader, &[within(Audience::Everyone), within(room("a")), within(room("b"))]);
    membership.leave(&within(room("a")));
    // It is in no such room any more, or never was.
    membership.leave(&within(room("a")));
    membership.leave(&within(room("c")));
    deliver(&writer, &[notification(1, room("a")), notification(2, room("b"))]);
    assert_eq!(member.heard(), [2]);
    let general = |name| RoomId::parse(name).expect("a name");
    assert_eq!((reader.members(&general("a")), reader.members(&general("b"))), (0, 1));
    assert_eq!(reader.rooms(10).await.0.into_keys().collect::<Vec<_>>(), [general("b")]);

    membership.leave(&within(Audience::Everyone));
    membership.leave(&within(room("b")));
    drop(membership);
    deliver(&writer, &[notification(3, room("b")), notification(4, Audience::Everyone)]);
    assert_eq!(member.heard(), [2]);
    assert_eq!(reader.rooms(10).await.0.len(), 0);
    assert_eq!(writer.receivers(&Audience::Everyone.into()), 0);
}

#[test]
fn joining_again_changes_nothing() {
    let (writer, reader) = shards();
    let (member, membership) = enrol(&reader, &[within(room("a")), within(room("a"))]);
    assert_eq!(writer.receivers(&room("a").into()), 1);
    deliver(&writer, &[notification(1, room("a"))]);
    assert_eq!(*member.seqs.lock(), [1], "enqueued once");
    membership.leave(&within(room("a")));
    assert_eq!(deliver(&writer, &[notification(2, room("a"))]), 0);
}

// a client that comes again is another member: what the earlier one leaves is not taken from it
#[test]
fn whoever_comes_again_keeps_what_the_earlier_one_leaves() {
    let (writer, reader) = shards();
    let (_, earlier) = come(&reader, &[within(room("a")), within(user("7"))]);
    let (member, _later) = come(&reader, &[within(room("a")), within(user("7"))]);
    drop(earlier);
    assert_eq!(deliver(&writer, &[notification(1, target(&["7"], &["a"]))]), 1);
    assert_eq!(member.heard(), [1]);
}

// while others come and go on other threads, who stays hears everything, in order
#[test]
fn who_stays_hears_everything_while_others_come_and_go() {
    const COUNT: Seq = 2_000;
    let (writer, reader) = shards();
    let stay: Vec<_> = (0..12).map(|_| come(&reader, &[within(room("a")), within(room("b"))])).collect();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let (member, passing) = enrol(&reader, &[within(room("a"))]);
                    passing.join(&within(room("b")));
                    passing.leave(&within(room("a")));
                    passing.leave(&within(room("b")));
                    drop(passing);
                    member.heard();
                }
            });
        }
        let delivering = writer.shards().iter().map(|shard| {
            scope.spawn(move || {
                for seq in 1..=COUNT {
                    let mut to_flush = Vec::new();
                    let audiences = if seq % 2 == 0 { room("a").into() } else { target(&[], &["a", "b"]) };
                    shard.enqueue(&[notification(seq, audiences)], &mut to_flush);
                    to_flush.iter().for_each(|member| member.flush());
                }
            })
        });
        let delivering: Vec<_> = delivering.collect();
        let ends: Vec<_> = delivering.into_iter().map(thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Relaxed);
        ends.into_iter().for_each(|end| end.expect("no panic"));
    });
    for (member, _subscription) in &stay {
        assert_eq!(member.heard(), (1..=COUNT).collect::<Vec<_>>());
    }
    drop(stay);
    assert_eq!(writer.receivers(&target(&[], &["a", "b"])), 0);
}
