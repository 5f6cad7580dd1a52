//! All floods at once against the binary, on a disk, with healthy clients beside them: nothing is lost, nobody with a good token is
//! refused, and what the floods took comes back.
//!
//! Normally each flood has a tenth of its connections and goes on for seconds; with LONG_TESTS set, all of them for ten minutes.

mod healthy;
mod subscriber;

use std::{fs, time::Duration};

use futures_util::{StreamExt, stream};
use serde_json::json;

use crate::support::{
    PATIENCE, Server, comes_to,
    floods::{ALL, Flood, Kind, LARGE, Publisher, Target, Way},
    within,
};
use healthy::Healthy;

/// How large a notification of the large history is, and how many there are.
const LARGE_BYTES: usize = 60_000;
const LARGE_EVENTS: usize = 100;

/// How many are published before memory is looked at, so that what keeps the newest ones and their keys is full.
const BEGINNING: usize = 2_000;

/// How long the server has to give back what the beginning took.
const SETTLES: Duration = Duration::from_secs(10);

/// How often the large history is read before memory is looked at.
const READINGS: usize = 10;

/// How many of them are on their way at the same time.
const AT_A_TIME: usize = 64;

const MIB: u64 = 1024 * 1024;

/// What the server is started with. What is kept of the newest notifications and of keys is little, so that memory does not grow by
/// what healthy clients publish; and a publish may take as long as a machine takes that is busy with everything else.
const SETTINGS: [(&str, &str); 6] = [
    ("JOURNAL", "sqlite"),
    ("JOURNAL_MEMORY_BYTES", "1048576"),
    ("IDEMPOTENCY_MAX_KEYS", "1000"),
    ("PUBLISH_TIMEOUT", "60s"),
    ("LOG_LEVEL", "INFO"),
    ("LOG_FORMAT", "json"),
];

/// How the floods are.
struct Size {
    /// Each has one of so many of its connections.
    part: usize,
    /// It opens them within so many seconds.
    stands_in: usize,
    /// However few it has, it opens as many a second, when they are hung up on.
    least_openings: usize,
    /// For how long the floods go on when they stand.
    lasts: Duration,
    /// What the server may hold of what is unfinished or unread.
    unfinished_bytes: u64,
    /// What everything else may take in the floods: thousands of connections, and queues for those who read nothing.
    others_bytes: u64,
    /// What the allocator may keep for itself behind the floods, above a tenth of what was held before; right behind a short run it
    /// still has more of it.
    kept_bytes: u64,
}

impl Size {
    fn get() -> Self {
        if std::env::var_os("LONG_TESTS").is_some() {
            Self {
                part: 1,
                stands_in: 20,
                least_openings: 50,
                lasts: Duration::from_secs(600),
                unfinished_bytes: 128 * MIB,
                others_bytes: 256 * MIB,
                kept_bytes: 8 * MIB,
            }
        } else {
            Self {
                part: 10,
                stands_in: 2,
                least_openings: 10,
                lasts: Duration::from_secs(3),
                unfinished_bytes: 16 * MIB,
                others_bytes: 96 * MIB,
                kept_bytes: 16 * MIB,
            }
        }
    }

    /// What bounds the server: the defaults, or as small a part of them as the floods are of theirs.
    fn bounds(&self) -> [(&'static str, String); 3] {
        [
            ("UNFINISHED_BYTES", self.unfinished_bytes.to_string()),
            ("MAX_HTTP_CONNECTIONS", (10_000 / self.part).to_string()),
            // Floods open connections as fast in the short run as in the long one: a newcomer has to have the time for its first call.
            ("MAX_GRPC_CONNECTIONS", (1_000 / self.part.min(2)).to_string()),
        ]
    }

    fn start(&self, kind: Kind, target: Target) -> Flood {
        let connections = kind.connections.div_ceil(self.part);
        let openings = (connections / self.stands_in).max(self.least_openings);
        Flood::start(kind, target, connections, u32::try_from(openings).expect("there are few"))
    }
}

/// Bytes of memory that the server holds and that are not those of a file, as its program is, of which floods use other parts.
fn held(server: &Server) -> u64 {
    memory(server, "RssAnon:")
}

/// What the system says of the memory of the server, in bytes.
fn memory(server: &Server, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.process())).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a Linux that says so");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

// nothing acknowledged is lost under a mix of all floods, nobody with a good token is refused, and memory comes back
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mix_of_floods_takes_nothing_from_anybody() {
    rlimit::increase_nofile_limit(u64::MAX).expect("the limit may be raised");
    let size = Size::get();
    let bounds = size.bounds();
    let bounds = bounds.iter().map(|(name, bound)| (*name, bound.as_str()));
    let settings: Vec<_> = SETTINGS.into_iter().chain(bounds).collect();
    let mut server = Server::start(&settings).await;
    let target = Target { http: server.http(), grpc: server.grpc(), token: "dev" };
    fill(target).await;
    let healthy = Healthy::begin(target).await;
    // So that what the beginning took, and nobody has any more, has gone back.
    server.hear_for(SETTLES).await;
    let (before, resident) = (held(&server), memory(&server, "VmRSS:"));
    let floods: Vec<Flood> = ALL.iter().map(|kind| size.start(*kind, target)).collect();
    for (kind, flood) in ALL.iter().zip(&floods) {
        within(kind.name, flood.stands()).await;
    }
    // This is how long the floods are, and waits for nothing.
    server.hear_for(size.lasts).await;
    healthy.goes_on().await;
    for (kind, flood) in ALL.iter().zip(&floods) {
        eprintln!("{}: {} connections opened", kind.name, flood.openings());
    }
    drop(floods);
    let (more, may) = (memory(&server, "VmHWM:").saturating_sub(resident), size.unfinished_bytes + size.others_bytes);
    let most = before + before / 10 + size.kept_bytes;
    let back = comes_to(|| held(&server), |held| *held <= most).await;
    let back = back.unwrap_or_else(|held| panic!("{held} bytes are held; {before} were before, {most} are the most"));
    eprintln!("held {before} bytes before, {more} more in the floods, {back} after them");
    let acknowledged = healthy.end().await;
    eprintln!("{acknowledged} notifications were acknowledged, and nothing was refused");
    assert!(more <= may, "{more} bytes more in the floods; {may} were to be the most");
    server.signal("TERM").await;
    let (status, log) = server.end().await;
    assert!(status.success(), "{status}:\n{log}");
}

/// Publishes what the floods read, and as much as it takes to fill what keeps the newest; and reads, so that the database has what
/// it keeps of its file.
async fn fill(target: Target) {
    let publisher = Publisher::new(Way::Grpc, target, PATIENCE);
    let payload = |value: serde_json::Value| serde_json::value::to_raw_value(&value).expect("JSON");
    let (large, small) = (payload(json!({ "large": "x".repeat(LARGE_BYTES) })), payload(json!({})));
    let large = (0..LARGE_EVENTS).map(|number| (LARGE, &large, format!("large-{number}")));
    let small = (0..BEGINNING).map(|number| ("nobody", &small, format!("small-{number}")));
    let publishing = stream::iter(large.chain(small)).for_each_concurrent(AT_A_TIME, |(room, payload, key)| {
        let publisher = &publisher;
        async move {
            publisher.publish(room, payload, &key).await.expect("accepted");
        }
    });
    publishing.await;
    for _ in 0..READINGS {
        let history = format!("http://{}/history?room={LARGE}&token={}", target.http, target.token);
        let answer = reqwest::get(history).await.and_then(reqwest::Response::error_for_status).expect("an answer");
        answer.bytes().await.expect("a history");
    }
}
