//! What a journal costs as it grows: to open, to resume from, to hold.

use std::{
    ops::Range,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use tokio::{
    net::TcpStream,
    runtime::Builder,
    sync::{Barrier, oneshot},
    task::{JoinSet, spawn_blocking},
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message};
use tokio_util::sync::CancellationToken;

use crate::{
    Result,
    args::{Args, Part},
    fill::{fill, user},
    publish::{connect, request},
    report::{self, Table, millis, percentile},
    server::Server,
};

/// How many notifications the journals have.
const SIZES: [u64; 2] = [1_000_000, 5_000_000];
const QUICK_SIZE: u64 = 200_000;

/// How many each user has of them, all over the journal.
pub(crate) const MISSED: usize = 100;

/// How many resume at the same time, how many such crowds come, and how many listen live meanwhile.
const RESUMING: u64 = 1_000;
const CROWDS: u64 = 4;
const LISTENING: u64 = 50;

/// How much the system prefers others to those who resume, from 0 to 19: as to the threads of the service that read for them.
const GIVING_WAY: i32 = 10;

/// The limits are out of the way.
const SETTINGS: [(&str, &str); 3] =
    [("JOURNAL_MAX_ENTRIES", "100000000"), ("JOURNAL_MAX_BYTES", "100000000000"), ("JOURNAL_MAX_AGE", "3650d")];

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What a round finds, in the order in which it gives it.
const FIGURES: [(&str, &str); 9] = [
    ("start-up, until it listens", "ms"),
    ("memory after start-up", "MiB"),
    ("one user who missed 100 resumes, the first after start-up", "ms"),
    ("one user who missed 100 resumes, median of 20 others", "ms"),
    ("1,000 users who missed 100 each resume at once, until all have all", "ms"),
    ("p99 of live delivery to 50 others, before", "ms"),
    ("the same, while every processor is busy with something else", "ms"),
    ("p99 of live delivery to 50 others, meanwhile", "ms"),
    ("memory afterwards", "MiB"),
];

pub(crate) async fn measure(args: &Args) -> Result<()> {
    let sizes: &[u64] = if args.quick { &[QUICK_SIZE] } else { &SIZES };
    for entries in sizes {
        measure_one(args, *entries).await?;
    }
    Ok(())
}

async fn measure_one(args: &Args, entries: u64) -> Result<()> {
    let dir = Args::directory().join(entries.to_string());
    std::fs::create_dir_all(&dir)?;
    let users = entries / MISSED as u64;
    let filling = Server::start(&dir, &[&SETTINGS[..], &[("DURABILITY", "process")]].concat()).await?;
    let epoch = fill(&filling, users).await?;
    filling.close().await?;
    let mut rounds = Vec::new();
    for number in 0..args.rounds() as u64 {
        rounds.push(round(&dir, number, users, &epoch).await?);
    }
    let title = format!("A journal of {entries} entries, {MISSED} for each of {users} users");
    let table = Table::new(args, Part::Replay, &title).of(format!("{entries} entries"));
    for (place, (what, unit)) in FIGURES.into_iter().enumerate() {
        let figures: Vec<f64> = rounds.iter().map(|round| round[place]).collect();
        table.line(what, unit, &figures)?;
    }
    Ok(())
}

async fn round(dir: &Path, number: u64, users: u64, epoch: &str) -> Result<[f64; FIGURES.len()]> {
    let server = Server::start(dir, &SETTINGS).await?;
    let fresh_memory = server.resident_mib()?;
    let first = millis(resume(&server, users - 1 - number, epoch).await?);
    let mut warm = Vec::new();
    for user in 0..20 {
        warm.push(millis(resume(&server, users / 2 + user, epoch).await?));
    }
    let (_, alone) = live_beside(&server, rest()).await?;
    let (_, crowded) = live_beside(&server, keep_processors_busy()).await?;
    let (crowds, meanwhile) = live_beside(&server, resume_in_crowds(&server, users, epoch)).await?;
    let memory = server.resident_mib()?;
    let [quiet, crowded, busy] = [alone, crowded, meanwhile].map(|delays| percentile(&delays, 99.0));
    let (started, warm, many) = (millis(server.started_in), report::median(&warm), report::median(&crowds));
    server.stop().await?;
    Ok([started, fresh_memory, first, warm, many, quiet, crowded, busy, memory])
}

pub(crate) async fn open(http: &str, client: &str, query: &str) -> Result<Socket> {
    let address = format!("ws://{http}/ws/{client}?{query}");
    Ok(tokio_tungstenite::connect_async(address).await?.0)
}

/// How long it takes a user to get all it missed since the beginning, its handshake counted in.
async fn resume(server: &Server, number: u64, epoch: &str) -> Result<Duration> {
    let started = Instant::now();
    let query = format!("user_id={}&since=0&epoch={epoch}", user(number));
    let mut socket = open(&server.http, &format!("resuming-{number}"), &query).await?;
    let mut missing = MISSED;
    while missing > 0 {
        let message = socket.next().await.ok_or("the connection ended")??;
        missing -= usize::from(is_notification(&message));
    }
    Ok(started.elapsed())
}

/// Several crowds, one after the other: one alone is through before there are enough deliveries for a p99. How long each took,
/// in milliseconds.
async fn resume_in_crowds(server: &Server, users: u64, epoch: &str) -> Result<Vec<f64>> {
    let elsewhere = Builder::new_multi_thread().enable_all().on_thread_start(give_way).build()?;
    let (http, epoch) = (server.http.clone(), epoch.to_owned());
    let resuming = elsewhere.spawn(async move {
        let mut times = Vec::new();
        for crowd in 0..CROWDS {
            times.push(millis(resume_all(&http, crowd * RESUMING..(crowd + 1) * RESUMING, users, &epoch).await?));
        }
        Ok(times)
    });
    let times = resuming.await?;
    elsewhere.shutdown_background();
    times
}

/// Who resumes would have processors of its own, and takes none from the service but what it leaves.
fn give_way() {
    let _ = rustix::process::setpriority_process(None, GIVING_WAY);
}

async fn resume_all(http: &str, resumers: Range<u64>, users: u64, epoch: &str) -> Result<Duration> {
    let together = Arc::new(Barrier::new(RESUMING as usize + 1));
    let mut resuming = JoinSet::new();
    for number in resumers {
        let (together, epoch) = (Arc::clone(&together), epoch.to_owned());
        let address = http.to_owned();
        resuming.spawn(async move {
            together.wait().await;
            let query = format!("user_id={}&since=0&epoch={epoch}", user(number * 37 % users));
            let address = format!("ws://{address}/ws/storm-{number}?{query}");
            let (mut socket, _) = tokio_tungstenite::connect_async(address).await?;
            let mut missing = MISSED;
            while missing > 0 {
                let message = socket.next().await.ok_or("the connection ended")??;
                missing -= usize::from(is_notification(&message));
            }
            Result::Ok(())
        });
    }
    together.wait().await;
    let started = Instant::now();
    while let Some(ended) = resuming.join_next().await {
        ended??;
    }
    Ok(started.elapsed())
}

/// Nothing beside live delivery, for a while.
async fn rest() -> Result<()> {
    tokio::time::sleep(Duration::from_secs(3)).await;
    Ok(())
}

/// A thread that does nothing of use for each processor, for a while: what a resume takes from others, but for the service.
async fn keep_processors_busy() -> Result<()> {
    let over = Arc::new(AtomicBool::new(false));
    let busy: Vec<_> = (0..std::thread::available_parallelism()?.get())
        .map(|_| {
            let over = Arc::clone(&over);
            std::thread::spawn(move || while !over.load(Ordering::Relaxed) {})
        })
        .collect();
    rest().await?;
    over.store(true, Ordering::Relaxed);
    busy.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a busy thread panicked".into()))
}

/// Does `work` while events go to listeners that are connected, up to 500 a second, and gives what came of it and the times
/// from publish to delivery: only those of events that were published while the work went on. The events have a thread of
/// their own, so that they do not wait for the clients of the work.
async fn live_beside<T>(server: &Server, work: impl Future<Output = Result<T>>) -> Result<(T, Vec<f64>)> {
    let (http, grpc) = (server.http.clone(), server.grpc.clone());
    let (connected, listening) = oneshot::channel();
    let over = CancellationToken::new();
    let ending = over.clone();
    let apart =
        move || Builder::new_current_thread().enable_all().build()?.block_on(deliver(&http, &grpc, connected, &ending));
    let delivering = spawn_blocking(apart);
    // Should nobody get to listen, the delivery says why.
    let done = match listening.await {
        Ok(()) => Some(work.await),
        Err(_) => None,
    };
    over.cancel();
    let delays = delivering.await??;
    Ok((done.ok_or("nobody listened")??, delays))
}

async fn deliver(http: &str, grpc: &str, connected: oneshot::Sender<()>, over: &CancellationToken) -> Result<Vec<f64>> {
    let started = Instant::now();
    let mut listeners = JoinSet::new();
    let (sender, mut times) = tokio::sync::mpsc::unbounded_channel();
    let ready = Arc::new(Barrier::new(LISTENING as usize + 1));
    for user in 0..LISTENING {
        let mut socket = open(http, &format!("live-{user}"), &format!("user_id={user}")).await?;
        let (sender, ready) = (sender.clone(), Arc::clone(&ready));
        listeners.spawn(async move {
            let established = socket.next().await;
            ready.wait().await;
            drop(established);
            while let Some(Ok(message)) = socket.next().await {
                if is_notification(&message) {
                    let _ = sender.send((user, started.elapsed()));
                }
            }
        });
    }
    ready.wait().await;
    let mut client = connect(grpc).await?;
    let mut delays = Vec::new();
    let mut user = 0;
    let _ = connected.send(());
    while !over.is_cancelled() {
        let sent = started.elapsed();
        client.publish(request(user)).await?;
        let (to, at) = times.recv().await.ok_or("the listeners ended")?;
        if to != user {
            return Err("delivered to another user".into());
        }
        delays.push(millis(at - sent));
        user = (user + 1) % LISTENING;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    listeners.abort_all();
    Ok(delays)
}

fn is_notification(message: &Message) -> bool {
    message.to_text().is_ok_and(|text| text.starts_with(r#"{"type":"system_notification""#))
}
