//! A service that is killed at a random moment, again and again: what it acknowledged is there, once, in order, and every
//! subscriber gets it exactly once over all its connections.
//!
//! It is killed while it takes events, in its start, while it drains, while it carries its log over, and twice in a row.

mod migration;
mod publishers;

use std::{collections::HashMap, process::Stdio, sync::Arc, time::Duration};

use exposia_notifications::wire::proto::v1::Notification;
use futures_util::future::join_all;
use rand::{RngExt, rngs::StdRng};
use tempfile::TempDir;
use tokio::time::sleep;

use super::{
    disk::{Disk, is_long, random},
    service::{Home, Service, within},
    subscriber::Subscriber,
};
use publishers::{Ledger, ROOMS, Sent, USERS, Way};

/// Small, so that the log is carried over in every round, and the oldest go in most; large enough for what a client misses.
/// Keys take of the same bytes.
const SETTINGS: [(&str, &str); 3] =
    [("JOURNAL_MEMORY_BYTES", "524288"), ("JOURNAL_MAX_BYTES", "4194304"), ("IDEMPOTENCY_MAX_KEYS", "5000")];

/// After how many rounds everything that is kept is looked at, and not only what is new.
const ALL_EVERY: usize = 25;

/// When the process is killed.
#[derive(Debug, Clone, Copy)]
enum Kill {
    /// After it took events for so long.
    Serving(Duration),
    /// So long after it was asked to end, which was after the first time.
    Draining(Duration, Duration),
    /// Straight behind this operation on the journal's file: all of them are of a log that is carried over.
    CarryingOver(u64),
}

impl Kill {
    fn any(random: &mut StdRng) -> Self {
        // The moments are what is random here; nothing waits for these times to be enough for anything.
        let moment = Duration::from_micros(random.random_range(10_000..250_000));
        match random.random_range(0..4) {
            0 => Self::Draining(moment, Duration::from_micros(random.random_range(0..20_000))),
            1 => Self::CarryingOver(random.random_range(1..150)),
            _ => Self::Serving(moment),
        }
    }

    async fn happens(self, mut service: Service) {
        match self {
            Self::Serving(moment) => {
                sleep(moment).await;
                service.kill().await;
            }
            Self::Draining(moment, later) => {
                sleep(moment).await;
                service.terminate().await;
                sleep(later).await;
                service.kill().await;
            }
            Self::CarryingOver(_) => drop(service.ended().await),
        }
    }
}

/// Everyone who takes part.
struct Rounds {
    folder: TempDir,
    disk: Disk,
    home: Home,
    ledger: Arc<Ledger>,
    subscribers: Vec<Subscriber>,
    /// Up to here everything was looked for.
    checked: u64,
    /// What it began with, for who looks at what a failed test has left.
    began: String,
    random: StdRng,
}

impl Rounds {
    fn new(folder: TempDir, home: Home, ledger: Ledger, random: StdRng) -> Self {
        let disk = Disk::new(&home.data, folder.path());
        Self {
            folder,
            disk,
            home,
            ledger: Arc::new(ledger),
            subscribers: Vec::new(),
            checked: 0,
            began: String::new(),
            random,
        }
    }

    async fn begin(random: StdRng) -> Self {
        let (folder, home) = Home::scratch(&SETTINGS);
        let mut rounds = Self::new(folder, home, Ledger::default(), random);
        rounds.killed_in_the_start().await;
        let service = rounds.home.start().await;
        for (number, user) in USERS.iter().cycle().take(6).enumerate() {
            let room = ROOMS[number % ROOMS.len()];
            rounds.subscribers.push(Subscriber::connect(&rounds.home, &format!("s{number}"), user, room).await);
        }
        service.kill().await;
        rounds
    }

    /// Starts, publishes and listens, kills, starts again, and looks at what is there.
    async fn round(&mut self, number: usize) {
        let kill = Kill::any(&mut self.random);
        let unanswered = self.until(kill).await;
        for _ in 0..[0, 0, 1, 3][self.random.random_range(0..4)] {
            self.killed_in_the_start().await;
        }
        let service = self.home.start().await;
        join_all(self.subscribers.iter_mut().map(|subscriber| subscriber.resume(&self.home))).await;
        self.ledger.retry(&service, unanswered).await;
        self.check(&service, &format!("round {number}, {kill:?}")).await;
        if number.is_multiple_of(ALL_EVERY) {
            self.check_all(&service, number).await;
        }
        service.kill().await;
    }

    /// Lets all publish and listen until the process is killed, and gives what had no answer.
    async fn until(&mut self, kill: Kill) -> Vec<Sent> {
        let home = match kill {
            Kill::CarryingOver(operation) => {
                let only = [("DISK_ONLY", "notifications.db".into())];
                self.disk.below(&self.home, &[("DISK_KILL_AT", operation)]).with(only)
            }
            _ => self.home.clone(),
        };
        // What an earlier process left in the log is carried over in the start: it may end there.
        let Ok(service) = home.try_start().await else { return Vec::new() };
        join_all(self.subscribers.iter_mut().map(|subscriber| subscriber.resume(&self.home))).await;
        let publish = self.ledger.fill(Way::all(&service), &mut self.random);
        let listen = join_all(self.subscribers.iter_mut().map(|subscriber| subscriber.listen(usize::MAX)));
        let ask = Box::pin(self.ledger.ask_earlier(service.grpc.clone()));
        let all = async { tokio::join!(kill.happens(service), listen, publish, ask) };
        let ((), _, unanswered, _) = within("the end of all", all).await;
        unanswered
    }

    /// A start that is killed before it is over, most often.
    async fn killed_in_the_start(&mut self) {
        let mut process = self.home.spawn(Stdio::null());
        sleep(Duration::from_micros(self.random.random_range(0..60_000))).await;
        process.kill().await.expect("kills");
    }

    /// Every event that was acknowledged is in the journal once, at its place; each subscriber has all of its own, once, in
    /// order.
    async fn check(&mut self, service: &Service, when: &str) {
        let (history, _) = service.history_after(self.checked).await;
        let ends = history.first().zip(history.last()).map(|(first, last)| (first.sequence, last.sequence));
        let mut places = HashMap::new();
        for (notification, place) in history.iter().zip(self.places_after(self.checked)) {
            assert_eq!(notification.sequence, place, "{when}: there is a hole in {ends:?}");
            let name = self.ledger.name(notification);
            let twice = places.insert(name.clone(), place);
            assert_eq!(twice, None, "{when}: {name} is there twice");
        }
        for (name, seq) in self.ledger.take() {
            assert_eq!(places.get(&name), Some(&seq), "{when}: {name} was acknowledged at {seq}");
        }
        for subscriber in &mut self.subscribers {
            let due: Vec<u64> = history.iter().filter(|it| is_for(it, subscriber)).map(|it| it.sequence).collect();
            within("the rest of what is due", subscriber.listen(due.len())).await;
            assert_eq!(subscriber.got, due, "{when}");
            subscriber.forget();
        }
        self.checked = history.last().map_or(self.checked, |last| last.sequence);
    }

    /// The places behind one that hold what has not had its time.
    fn places_after(&self, seq: u64) -> impl Iterator<Item = u64> {
        (seq + 1..).filter(|place| !self.ledger.has_ended(*place))
    }

    /// All that is kept is sound, and has neither a hole nor anything twice.
    async fn check_all(&self, service: &Service, number: usize) {
        let (history, _) = service.history().await;
        let mut names: Vec<_> = history.iter().map(|it| self.ledger.name(it)).collect();
        names.sort_unstable();
        assert!(names.is_sorted_by(|one, other| one < other), "round {number}: something is there twice");
        let oldest = history.first().map_or(1, |first| first.sequence);
        let due = self.places_after(oldest - 1).take_while(|place| *place <= self.checked);
        assert!(history.iter().map(|it| it.sequence).eq(due), "round {number}: the places have a hole");
        let check = self.home.run(&["journal", "check"]).await;
        assert!(check.status.success(), "round {number}: {}", String::from_utf8_lossy(&check.stdout));
    }
}

impl Drop for Rounds {
    /// What a failed test has found stays to be looked at.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            eprintln!("the directory is kept: {} {}", self.folder.path().display(), self.began);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_kill_and_reaches_everyone_once() {
    let mut rounds = Rounds::begin(random("CRASH_SEED")).await;
    let count = if is_long() { 1_000 } else { 10 };
    for number in 1..=count {
        rounds.round(number).await;
    }
    let service = rounds.home.start().await;
    rounds.check_all(&service, count).await;
    service.stop().await;
    eprintln!("{} events in {count} rounds", rounds.checked);
}

fn is_for(notification: &Notification, subscriber: &Subscriber) -> bool {
    let target = notification.audience.as_ref().expect("an audience");
    notification.sequence >= subscriber.from
        && (target.everyone || target.users.contains(&subscriber.user) || target.rooms.contains(&subscriber.room))
}
