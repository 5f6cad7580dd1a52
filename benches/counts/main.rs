//! The way of one publish, of one delivery that a member enqueues, of one delivery to a socket, and of one notification into the journal's file
//! and out of it, for valgrind to count instructions: `scripts/bench counts`.
//!
//! Runs an act so many times as it is told. The script runs it with two numbers, and the difference is free of everything
//! that happens once.

#[path = "../pure/acts.rs"]
mod acts;
mod deliver;
mod journal;

use std::{env, sync::Arc};

use acts::House;
use exposia_notifications::{
    broker::Rules,
    clock::System,
    config::Config,
    domain::{Epoch, Notification},
    journal::{Append, Memory},
    wire::encoded,
};

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

/// As in the service: what allocating takes is part of the count.
#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator;

/// How many members the room has.
const MEMBERS: usize = 100;

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1).filter(|argument| argument != "--bench");
    let (act, times) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default().parse()?);
    match &*act {
        "publish" => publish(times),
        "enqueue" => enqueue(times),
        "receivers" => receivers(times),
        "deliver" => deliver::run(times / MEMBERS),
        "append" => journal::append(times),
        "read" => journal::read(times),
        other => Err(format!("no such act: {other}").into()),
    }
}

/// What `POST /notify` is from its body to its place in the journal, and to its frame.
fn publish(times: usize) -> Result<()> {
    let (rules, journal) = (Rules::default(), Memory::new(&Config::defaults().journal, Arc::new(System::default())));
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for _ in 0..times {
        let entry = acts::entry(&rules)?;
        let (event, audiences) = (entry.event.clone(), entry.audiences.clone());
        let outcomes = runtime.block_on(journal.append(vec![entry]))?.outcomes;
        assert_eq!(outcomes.len(), 1, "one outcome for one entry");
        encoded::notification_frame(&Notification::new(Epoch::from_random(1), 1, event, audiences, None));
    }
    Ok(())
}

/// From the commit stream to each member of a room, without the socket. `times` deliveries, a hundred at a time.
fn enqueue(times: usize) -> Result<()> {
    let mut house = House::new(MEMBERS, 1)?;
    (0..times / MEMBERS).for_each(|_| house.fan_out());
    Ok(())
}

/// How many members of two rooms a publish is for, which is counted before it is appended.
fn receivers(times: usize) -> Result<()> {
    let house = House::new(30 * MEMBERS, 2)?;
    (0..times).try_for_each(|_| house.receivers().map(|count| assert_eq!(count, 30 * MEMBERS, "nobody is in both")))
}
