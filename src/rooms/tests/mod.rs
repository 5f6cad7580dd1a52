//! What is counted and looked at, and what that costs others.

mod delivering;

use std::{
    num::NonZeroUsize,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::task::yield_now;

use super::*;
use crate::domain::{
    Audience, Audiences, Break, Delivery, Ephemeral, EphemeralEvent, Event, Interest, Payload, RoomId, UserId,
};

/// A member that counts what it is to enqueue.
#[derive(Debug)]
struct Listener {
    name: String,
    enqueued: AtomicUsize,
    interrupted: AtomicUsize,
}

impl Member for Listener {
    fn enqueue(&self, _: &Delivery) -> bool {
        self.enqueued.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn interrupt(&self, _: &Break) -> bool {
        self.interrupted.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn flush(&self) {}

    fn name(&self) -> &str {
        &self.name
    }
}

/// Members that are numbered by their coming.
struct House {
    writer: Writer,
    reader: Reader,
    listeners: Vec<Arc<Listener>>,
    subscriptions: Vec<Subscription>,
}

fn room(name: &str) -> Audience {
    Audience::Room(RoomId::parse(name).expect("a name"))
}

fn user(name: &str) -> Audience {
    Audience::User(UserId::parse(name).expect("a name"))
}

fn target(users: &[&str], rooms: &[&str]) -> Audiences {
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    Audiences::from_target(false, &texts(users), &texts(rooms)).expect("a target")
}

impl House {
    /// So many members, who hear what is for everyone.
    fn new(members: usize) -> Self {
        let (writer, reader) = split(NonZeroUsize::new(2).expect("not zero"));
        let mut house = Self { writer, reader, listeners: Vec::new(), subscriptions: Vec::new() };
        (0..members).for_each(|_| house.come(Interest::In(Audience::Everyone)));
        house
    }

    fn come(&mut self, interest: Interest) {
        let name = format!("m{}", self.listeners.len());
        self.listeners.push(Arc::new(Listener {
            name,
            enqueued: AtomicUsize::new(0),
            interrupted: AtomicUsize::new(0),
        }));
        let member = Arc::clone(self.listeners.last().expect("it came"));
        let mut subscription = self.reader.subscribe(member);
        subscription.join(interest);
        self.subscriptions.push(subscription);
    }

    fn join(&mut self, members: Range<usize>, audience: &Audience) {
        self.subscriptions[members].iter_mut().for_each(|member| member.join(Interest::In(audience.clone())));
    }

    fn receivers(&self, audiences: &Audiences) -> usize {
        self.writer.receivers(audiences)
    }
}

#[tokio::test]
async fn who_is_in_several_audiences_counts_once() {
    let mut house = House::new(50);
    house.join(0..30, &room("a"));
    house.join(20..40, &room("b"));
    house.join(25..45, &user("7"));
    house.come(Interest::Everything);
    for (audiences, count) in [
        (room("a").into(), 31),
        (room("empty").into(), 1),
        (Audience::Everyone.into(), 51),
        (target(&[], &["a", "b"]), 41),
        (target(&["7"], &["a", "b", "empty"]), 46),
        (Audiences::from_target(true, &[], &["a".to_owned()]).expect("a target"), 51),
    ] {
        assert_eq!(house.receivers(&audiences), count, "{audiences:?}");
        let (explained, names) = house.writer.explain(&audiences, 100).await;
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!((explained, names.len(), distinct.len()), (count, count, count), "{audiences:?}");
    }
    drop(house.subscriptions.split_off(20));
    assert_eq!(house.receivers(&target(&["7"], &["a", "b"])), 20);
}

// however large the rooms are, no more members are looked at than the bound says
#[tokio::test]
async fn a_count_costs_no_more_in_a_large_room() {
    let mut house = House::new(10_000);
    house.join(0..5_000, &room("large"));
    house.join(4_500..5_400, &room("small"));
    house.join(5_350..5_450, &user("7"));
    assert_eq!(house.receivers(&target(&["7"], &["large", "small"])), 5_450);

    house.join(2_600..5_200, &room("too large"));
    let two = target(&[], &["large", "too large"]);
    assert_eq!(house.receivers(&two), 5_000 + 2_600, "nobody looked who is in both");
    let (count, names) = house.writer.explain(&two, 100).await;
    assert_eq!((count, names.len()), (5_200, 100));

    house.join(0..10_000, &room("all"));
    house.join(0..10_000, &room("all again"));
    assert_eq!(house.receivers(&target(&[], &["all", "all again"])), 10_000, "there are no more members than that");
}

// an explanation looks at everybody, but not at once, and misses nobody who stays
#[tokio::test]
async fn who_explains_lets_others_have_their_turn() {
    let mut house = House::new(2_000);
    house.join(0..2_000, &room("a"));
    house.join(0..2_000, &room("b"));
    let (writer, stays) = (house.writer.clone(), house.subscriptions.split_off(1_000));
    let mut goes = house.subscriptions;
    let (mut turns, mut explained) = (0, false);
    let audiences = target(&[], &["a", "b"]);
    let ((count, _), ()) = tokio::join!(
        async {
            let explanation = writer.explain(&audiences, 100).await;
            explained = true;
            explanation
        },
        async {
            // Some of the first leave in each turn: others take their places.
            for _ in 0..10 {
                yield_now().await;
                turns += 1;
                goes.drain(..100);
            }
        }
    );
    assert!(explained && turns == 10);
    assert!((1_000..2_000).contains(&count), "{count}: those who stay, and not all who were there at first");
    drop(stays);
}

#[tokio::test]
async fn what_nobody_keeps_is_offered_once() {
    let mut house = House::new(40);
    house.join(0..30, &room("a"));
    house.join(20..35, &room("b"));
    house.join(25..37, &user("7"));
    house.come(Interest::Everything);
    let payload = Payload::parse("{}".into()).expect("an object");
    let event = Event { name: "e".into(), payload, source: "".into(), timestamp: "".into() };
    let event = EphemeralEvent { id: "".into(), event, expires_at: None };
    let ephemeral = Ephemeral::event(target(&["7"], &["a", "b", "empty"]), event);
    let batch = [Delivery::Ephemeral(Arc::new(ephemeral))];
    let mut to_flush = Vec::new();
    house.writer.shards().iter().for_each(|shard| shard.enqueue(&batch, &mut to_flush));
    let enqueued: Vec<_> = house.listeners.iter().map(|listener| listener.enqueued.load(Ordering::Relaxed)).collect();
    assert_eq!(enqueued, [vec![1; 37], vec![0; 3], vec![1]].concat());
    assert_eq!(to_flush.len(), 38);
}

// whatever somebody listens to, and in however many ways
#[tokio::test]
async fn a_break_interrupts_each_member_once() {
    let mut house = House::new(10);
    house.join(0..8, &room("a"));
    house.join(4..10, &user("7"));
    house.come(Interest::Everything);
    house.come(Interest::In(room("a")));
    house.join(11..12, &room("b"));
    let mut to_flush = Vec::new();
    for shard in house.writer.shards() {
        shard.enqueue(&[Delivery::Break(Break::Anew), Delivery::Break(Break::Lost(3..=4))], &mut to_flush);
    }
    let interrupted: Vec<_> = house.listeners.iter().map(|it| it.interrupted.load(Ordering::Relaxed)).collect();
    assert_eq!((interrupted, to_flush.len()), (vec![2; 12], 24));
    assert!(house.listeners.iter().all(|listener| listener.enqueued.load(Ordering::Relaxed) == 0));
}

#[tokio::test]
async fn the_first_rooms_are_shown_and_general() {
    let mut house = House::new(700);
    for number in 0..700 {
        house.join(number..number + 1, &room(&format!("a{number:03}")));
    }
    let shown = async |house: &House, limit| house.reader.rooms(limit).await;
    let (rooms, more) = shown(&house, 700).await;
    assert_eq!((rooms.len(), more), (700, false));
    house.join(0..2, &room("general"));
    house.join(1..4, &room("a500"));
    for (limit, last) in [(600, "a598"), (701, "a699")] {
        let (rooms, more) = shown(&house, limit).await;
        let names: Vec<_> = rooms.keys().map(RoomId::as_str).collect();
        assert_eq!((names.len(), more), (limit, limit < 701));
        assert_eq!(&names[limit - 2..], [last, "general"]);
        assert_eq!((rooms[&RoomId::general()], rooms[&RoomId::parse("a500").expect("a name")]), (2, 4));
    }
    house.subscriptions.clear();
    assert_eq!(shown(&house, 10).await, Default::default());
}
