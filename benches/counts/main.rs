//! The way of one publish, and of one offer to a member, for valgrind to count instructions: `scripts/bench counts`.
//!
//! Runs an act so many times as it is told. The script runs it with two numbers, and the difference is free of everything
//! that happens once.

use std::{env, num::NonZeroUsize, sync::Arc};

use bytes::Bytes;
use exposia_notifications::{
    broker::Rules,
    config::Config,
    domain::{Audience, Delivery, Durability, Epoch, Notification, RoomId},
    journal::{Append, Entry, Memory},
    rooms::{self, Interest, Member},
    wire::{frame, notify},
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How many members the room has.
const MEMBERS: usize = 100;

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1).filter(|argument| argument != "--bench");
    let (act, times) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default().parse()?);
    match &*act {
        "publish" => publish(times),
        "offer" => offer(times),
        other => Err(format!("no such act: {other}").into()),
    }
}

/// What `POST /notify` is from its body to its place in the journal, and to its frame.
fn publish(times: usize) -> Result<()> {
    let (rules, journal) = (Rules::default(), Memory::new(&Config::defaults().journal));
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for _ in 0..times {
        let entry = entry(&rules)?;
        let (event, audiences) = (entry.event.clone(), entry.audiences.clone());
        let outcomes = runtime.block_on(journal.append(vec![entry]))?;
        assert_eq!(outcomes.len(), 1, "one outcome for one entry");
        frame::notification(&Notification::new(Epoch::from_random(1), 1, event, audiences, None));
    }
    Ok(())
}

fn entry(rules: &Rules) -> Result<Entry> {
    let body =
        format!(r#"{{"event":"tema.creado","payload":{{"temaId":7,"pad":"{}"}},"source":"bench"}}"#, "x".repeat(200));
    let draft = notify::read(&Bytes::from(body), None).map_err(|problem| format!("{problem:?}"))?;
    let audiences = rules.route(&draft.name, &draft.payload)?.audiences;
    let event = draft.into_event("2026-01-01T00:00:00.000Z");
    Ok(Entry { event, audiences, key: None, expires_at: None, durability: Durability::Fsync })
}

/// A member that takes everything: what is counted is the way to it.
#[derive(Debug)]
struct Listener;

impl Member for Listener {
    fn offer(&self, _: &Delivery) -> bool {
        true
    }

    fn flush(&self) {}

    fn name(&self) -> &str {
        "listener"
    }
}

/// From the tail to each member of a room, without the socket. `times` offers, a hundred at a time.
fn offer(times: usize) -> Result<()> {
    let (writer, reader) = rooms::split(NonZeroUsize::MIN);
    let room = Audience::Room(RoomId::parse("tema_7")?);
    let _subscriptions: Vec<_> = (0..MEMBERS)
        .map(|_| {
            let mut subscription = reader.subscribe(Arc::new(Listener));
            subscription.join(Interest::In(room.clone()));
            subscription
        })
        .collect();
    let entry = entry(&Rules::default())?;
    let notification = Notification::new(Epoch::from_random(1), 1, entry.event, entry.audiences, None);
    let batch = [Delivery::Notification(Arc::new(notification))];
    let mut due = Vec::new();
    for _ in 0..times / MEMBERS {
        writer.shards()[0].offer(&batch, &mut due);
        due.drain(..).for_each(|member| member.flush());
    }
    Ok(())
}
