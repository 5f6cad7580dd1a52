//! The same from a journal of the first layout: the service is killed in the migration, and whoever published and listened
//! before goes on across it.

use std::{fs, process::Stdio, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    time::sleep,
};

use super::{
    super::{
        disk::{
            is_long,
            migration::{copy_is_whole, layout},
            random,
        },
        service::{Home, within},
        subscriber::Subscriber,
        tools::layout_1::{EPOCH, Fixture, KILLED, STOPPED},
    },
    ROOMS, Rounds, USERS,
    publishers::Ledger,
};

const FIXTURES: [Fixture; 2] = [STOPPED, KILLED];

/// When a start on an older layout is killed. One that finds the journal carried forward is killed at the latest once it serves.
#[derive(Debug, Clone, Copy)]
enum Kill {
    /// So long after its beginning.
    Begun(Duration),
    /// So long after it said that it carries the journal forward.
    Carrying(Duration),
    /// Straight behind this operation on the disk.
    Operation(u64),
    /// So long after it serves.
    Serving(Duration),
}

impl Kill {
    fn any(random: &mut StdRng) -> Self {
        // The moments are what is random here; nothing waits for these times to be enough for anything.
        match random.random_range(0..3) {
            0 => Self::Begun(Duration::from_micros(random.random_range(0..60_000))),
            1 => Self::Carrying(Duration::from_micros(random.random_range(0..20_000))),
            _ => Self::within(random),
        }
    }

    /// A migration has not many more operations than this.
    fn within(random: &mut StdRng) -> Self {
        Self::Operation(random.random_range(5..45))
    }

    fn behind(random: &mut StdRng) -> Self {
        Self::Serving(Duration::from_micros(random.random_range(0..10_000)))
    }

    async fn happens(self, rounds: &Rounds) {
        match self {
            Self::Begun(moment) => {
                let mut process = rounds.home.spawn(Stdio::null());
                sleep(moment).await;
                process.kill().await.expect("kills");
            }
            Self::Carrying(moment) => {
                let mut process = rounds.home.spawn(Stdio::piped());
                let mut lines = BufReader::new(process.stderr.take().expect("a pipe")).lines();
                within("a word of the migration", async {
                    while let Some(line) = lines.next_line().await.expect("a log") {
                        if line.contains("carrying the journal forward") || line.ends_with("serving") {
                            break;
                        }
                    }
                })
                .await;
                sleep(moment).await;
                process.kill().await.expect("kills");
            }
            Self::Operation(operation) => rounds.disk.start_and_kill_at(&rounds.home, operation).await,
            Self::Serving(moment) => {
                let service = rounds.home.start().await;
                sleep(moment).await;
                service.kill().await;
            }
        }
    }
}

impl Rounds {
    /// On a copy of a journal of the first layout, with subscribers who saw some of it.
    fn on(fixture: &Fixture, mut random: StdRng) -> Self {
        let (folder, mut home) = fixture.home();
        // Small, so that there are segments of both layouts.
        home.set("JOURNAL_MEMORY_BYTES", "60000");
        let places: [u64; 6] = std::array::from_fn(|_| random.random_range(fixture.oldest - 1..=fixture.newest));
        let mut rounds = Self::new(folder, home, Ledger::behind(fixture), random);
        rounds.checked = fixture.oldest - 1;
        for (number, since) in places.into_iter().enumerate() {
            let (user, room) = (USERS[number % USERS.len()], ROOMS[number % ROOMS.len()]);
            rounds.subscribers.push(Subscriber::absent(&format!("s{number}"), user, room, since, EPOCH));
        }
        rounds
    }

    /// Nothing of the older journal is missing or altered; its keys are known, and so is who cannot be caught up.
    async fn has_all_of(&self, fixture: &Fixture) {
        let service = self.home.start().await;
        let answered = self.ledger.ask_earlier(service.grpc.clone()).await;
        assert_eq!(answered, self.ledger.earlier_keys(), "not all keys were answered");
        for (since, epoch) in [(fixture.oldest - 2, EPOCH), (fixture.newest, "0123456789abcdef")] {
            Subscriber::absent("late", USERS[0], ROOMS[0], since, epoch).start_anew(&self.home).await;
        }
        service.stop().await;
        fixture.begins(&self.home).await;
        copy_is_whole(&self.home, fixture).await;
    }
}

/// Whether the journal still is of the first layout. The database never opens the file itself: it would change what the next start
/// finds.
fn is_as_it_was(home: &Home) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let elsewhere = home.moved(&folder.path().join("data"));
    fs::create_dir(&elsewhere.data).expect("a directory");
    fs::copy(home.file(), elsewhere.file()).expect("copies");
    if home.log().exists() {
        fs::copy(home.log(), elsewhere.log()).expect("copies");
    }
    layout(&elsewhere.file()) == 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_older_layout_held_survives_kills_in_its_migration() {
    let mut random = random("CRASH_MIGRATION_SEED");
    let count = if is_long() { 60 } else { 3 };
    let (mut kills, mut before) = (0, 0);
    for number in 0..count {
        let fixture = &FIXTURES[random.random_range(0..2)];
        let mut first = vec![Kill::any(&mut random)];
        match number % 3 {
            0 => {}
            1 => first.insert(0, Kill::within(&mut random)),
            _ => first.push(Kill::behind(&mut random)),
        }
        let mut rounds = Rounds::on(fixture, StdRng::seed_from_u64(random.random()));
        rounds.began = format!("{} of the first layout, first killed at {first:?}", fixture.name);
        for kill in first {
            kill.happens(&rounds).await;
            kills += 1;
            before += usize::from(is_as_it_was(&rounds.home));
        }
        rounds.round(0).await;
        rounds.has_all_of(fixture).await;
    }
    eprintln!("{kills} kills in {count} rounds, {before} of them before the migration was done");
    assert!(!is_long() || before > count / 4, "the kills come too late");
}
