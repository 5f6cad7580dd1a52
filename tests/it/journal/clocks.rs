//! Wall clocks that are wrong, at the start or from some moment on, under the real binary: nothing that was acknowledged goes for
//! it, a key is known, and whoever runs the service is told.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use chrono::{TimeDelta, Utc};
use exposia_notifications::wire::proto::v1::GetHistoryRequest;
use serde_json::json;

use super::{
    service::{Home, Service, event, marker, within},
    subscriber::Subscriber,
};

/// Where distributions have the library that tells a process another time, for processes with threads.
fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut found = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
    found.find(|path| path.exists()).expect("libfaketime is installed (Debian: faketime)")
}

/// A wall clock that only a service has.
struct WallClock {
    file: PathBuf,
}

impl WallClock {
    /// A clock that is off by `offset`, such as `+30d` or `-1h`; `+0` is right.
    fn off_by(offset: &str, dir: &Path) -> Self {
        let clock = Self { file: dir.join("clock") };
        clock.step_to(offset);
        clock
    }

    /// Puts it to another time, also under a service that runs.
    fn step_to(&self, offset: &str) {
        let next = self.file.with_extension("next");
        fs::write(&next, offset).expect("writes");
        // It is read at each look at the clock: never without its text.
        fs::rename(next, &self.file).expect("moves");
    }

    /// `home` with this clock on its wall. What it waits by stays as it is.
    fn over(&self, home: &Home) -> Home {
        let on = OsString::from("1");
        home.with([
            ("LD_PRELOAD", library().into_os_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.clone().into_os_string()),
            ("FAKETIME_NO_CACHE", on.clone()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", on),
        ])
    }
}

/// Publishes `e1` to `e{count}`, each under a key.
async fn fill(service: &Service, count: u64) {
    for n in 1..=count {
        publish(service, n).await;
    }
}

/// Publishes `e{n}` under its key; it gets the place `n`.
async fn publish(service: &Service, n: u64) {
    let answer = service.publish_keyed(n).await;
    assert_eq!(
        (answer.0, &answer.1["sequence"], &answer.1["duplicate"]),
        (200, &json!(n), &json!(false)),
        "{}",
        answer.1
    );
}

/// Publishes it again: its key is known.
async fn is_known(service: &Service, n: u64) {
    let answer = service.publish_keyed(n).await;
    assert_eq!(
        (answer.0, &answer.1["sequence"], &answer.1["duplicate"]),
        (200, &json!(n), &json!(true)),
        "{}",
        answer.1
    );
}

async fn holds(service: &Service, count: u64) {
    let markers: Vec<_> = service.history().await.0.iter().map(marker).collect();
    assert_eq!(markers, (1..=count).map(|n| format!("e{n}")).collect::<Vec<_>>());
}

/// The places of what the journal took in since a time, by its own stamps.
async fn since(service: &Service, ago: TimeDelta) -> Vec<u64> {
    let since = Utc::now() - ago;
    let since_time = Some(prost_types::Timestamp { seconds: since.timestamp(), nanos: 0 });
    let request = GetHistoryRequest { since_time, ..GetHistoryRequest::default() };
    let page = within("a page", service.grpc.clone().get_history(request)).await.expect("a page").into_inner();
    page.notifications.iter().map(|notification| notification.sequence).collect()
}

/// Waits for a warning with this text.
async fn is_warned(service: &Service, of: &str) {
    let said = |line: &String| line.contains("WARN") && line.contains(of);
    let warned = async {
        while !service.log().iter().any(said) {
            tokio::task::yield_now().await
        }
    };
    within(&format!("a warning of {of}"), warned).await;
}

/// Waits until health is so, and gives its detail.
async fn becomes(service: &Service, status: &str) -> String {
    within(status, async {
        loop {
            let (code, health) = service.health().await;
            assert_eq!(code, 200, "{health}");
            if health["status"] == status {
                return health["detail"].as_str().unwrap_or_default().to_owned();
            }
        }
    })
    .await
}

#[tokio::test]
#[ignore = "needs libfaketime"]
async fn a_start_with_a_clock_that_is_a_month_ahead_empties_nothing() {
    let (folder, home) = Home::scratch(&[]);
    let service = home.start().await;
    fill(&service, 6).await;
    service.stop().await;

    let clock = WallClock::off_by("+30d", folder.path());
    let service = clock.over(&home).start().await;
    is_warned(&service, "the clock is far ahead").await;
    publish(&service, 7).await;
    is_known(&service, 1).await;
    // Each commit lets the oldest go that are to go.
    publish(&service, 8).await;
    holds(&service, 8).await;
    assert_eq!(becomes(&service, "healthy").await, "");
    service.stop().await;

    let service = home.start().await;
    let detail = becomes(&service, "degraded").await;
    assert!(detail.contains("clock") && detail.contains("journal settle-clock"), "{detail}");
    is_warned(&service, "the clock shows less").await;
    publish(&service, 9).await;
    is_known(&service, 1).await;
    is_known(&service, 7).await;
    holds(&service, 9).await;
    assert_eq!(since(&service, TimeDelta::days(-1)).await, [7, 8], "later stamps are of the right clock");
    assert_eq!(since(&service, TimeDelta::hours(1)).await, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    service.stop().await;
}

#[tokio::test]
#[ignore = "needs libfaketime"]
async fn a_start_with_a_clock_that_is_days_ahead_forgets_no_key() {
    let (folder, home) = Home::scratch(&[]);
    let service = home.start().await;
    fill(&service, 3).await;
    service.stop().await;
    let clock = WallClock::off_by("+3d", folder.path());
    let service = clock.over(&home).start().await;
    is_known(&service, 1).await;
    publish(&service, 4).await;
    is_known(&service, 2).await;
    service.kill().await;
    let service = home.start().await;
    is_known(&service, 3).await;
    is_known(&service, 4).await;
    holds(&service, 4).await;
    service.stop().await;
}

// A clock that goes wrong while the service runs is the same as one that was wrong at its start
#[tokio::test]
#[ignore = "needs libfaketime"]
async fn a_clock_that_steps_days_ahead_while_the_service_runs_empties_nothing() {
    let (folder, home) = Home::scratch(&[]);
    let clock = WallClock::off_by("+0", folder.path());
    let service = clock.over(&home).start().await;
    fill(&service, 3).await;
    clock.step_to("+30d");
    is_warned(&service, "the clock is far ahead").await;
    publish(&service, 4).await;
    is_known(&service, 1).await;
    holds(&service, 4).await;
    clock.step_to("+0");
    let detail = becomes(&service, "degraded").await;
    assert!(detail.contains("journal settle-clock"), "{detail}");
    is_known(&service, 2).await;
    publish(&service, 5).await;
    holds(&service, 5).await;
    service.stop().await;
}

#[tokio::test]
#[ignore = "needs libfaketime"]
async fn what_has_a_time_to_live_ends_by_the_clock_that_stamped_it() {
    let (folder, home) = Home::scratch(&[]);
    let clock = WallClock::off_by("+0", folder.path());
    let service = clock.over(&home).start().await;
    let mut subscriber = Subscriber::connect(&home, "s", "u", "r").await;
    let short = |name: &str| {
        let mut body = event(name);
        body["ttl"] = 60.into();
        body
    };
    assert_eq!(service.notify(&short("before"), None).await.expect("an answer").0, 200);
    subscriber.listen(1).await;
    let held = async || service.history().await.0.iter().map(marker).collect::<Vec<_>>();
    assert_eq!(held().await, ["before"]);

    clock.step_to("+1h");
    assert!(held().await.is_empty(), "its time has passed");
    assert_eq!(service.notify(&short("after"), None).await.expect("an answer").0, 200);
    assert_eq!(held().await, ["after"], "its time has just begun");
    // Who comes back gets what is of use, and nothing else.
    subscriber.forget();
    subscriber.resume(&home).await;
    subscriber.listen(1).await;
    assert_eq!(subscriber.got, [2]);
    clock.step_to("+2h");
    assert!(held().await.is_empty());

    clock.step_to("+0");
    let detail = becomes(&service, "degraded").await;
    assert!(detail.contains("clock"), "{detail}");
    clock.step_to("+2h");
    becomes(&service, "healthy").await;
    service.stop().await;
}

#[tokio::test]
#[ignore = "needs libfaketime"]
async fn a_clock_that_is_put_right_soon_after_the_start_is_followed() {
    let (folder, home) = Home::scratch(&[]);
    let clock = WallClock::off_by("-10d", folder.path());
    let service = clock.over(&home).start().await;
    fill(&service, 6).await;
    clock.step_to("+0");
    is_warned(&service, "the clock is far ahead").await;
    publish(&service, 7).await;
    is_known(&service, 1).await;
    holds(&service, 7).await;
    assert_eq!(since(&service, TimeDelta::days(1)).await, [7], "the stamps follow the clock");
    assert_eq!(becomes(&service, "healthy").await, "");
    service.kill().await;

    // What is left of the time in which nothing goes by its age goes on after a restart.
    let service = home.start().await;
    publish(&service, 8).await;
    is_known(&service, 1).await;
    is_known(&service, 7).await;
    holds(&service, 8).await;
    service.stop().await;
}
