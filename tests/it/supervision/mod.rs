//! What must live as long as the service does: whichever part ends, by itself or by a panic, takes the service down in the
//! ordinary order, and everybody is told which it was.

mod process;
mod scene;

use std::collections::BTreeSet;

use exposia_notifications::{wire::proto::v1::PublishRequest, worker::InjectedFault};
use hyper::Method;
use tokio::task::JoinSet;

use self::scene::{Kept, Scene, kept_in, publish_over_http, read_the_file};
use crate::support::{InHand, TOKEN, eventually, publish_over_grpc, within};

/// The rows of the table of threads and tasks in `ARCHITECTURE.md`, by their names.
fn documented() -> BTreeSet<String> {
    let page = include_str!("../../../ARCHITECTURE.md");
    let (_, table) = page.split_once("| worker | does |").expect("the table");
    let rows = table.lines().skip(2).take_while(|line| line.trim_start().starts_with('|'));
    rows.map(|row| row.split('`').nth(1).expect("a name").to_owned()).collect()
}

/// A name as the page has it: `fan-out-0` is one of `fan-out-<n>`.
fn kind(name: &str) -> String {
    match name.rsplit_once('-') {
        Some((kind, number)) if number.parse::<usize>().is_ok() => format!("{kind}-<n>"),
        _ => name.to_owned(),
    }
}

#[tokio::test]
async fn the_page_lists_what_is_watched() {
    let scene = Scene::with_tls().await;
    let names: BTreeSet<_> = scene.names().iter().map(|name| kind(name)).collect();
    assert_eq!(names, documented());
}

/// Ends one part in the middle of the service's work, and looks at what everybody is told.
async fn ends(name: &str, fault: InjectedFault) {
    let scene = Scene::start().await;
    let (app, http) = (&scene.app, scene.app.http());
    let mut subscriber = JoinSet::new();
    subscriber.spawn(app.connect(&format!("ana?token={TOKEN}")).await.listen_to_the_end());
    let (mut publishing, mut reading) = (JoinSet::new(), JoinSet::new());
    let (progress, mut under_way) = tokio::sync::mpsc::channel(1);
    publishing.spawn(publish_over_http(http, progress.clone()));
    let event = PublishRequest { event: "e".into(), ..PublishRequest::default() };
    publishing.spawn(publish_over_grpc(app.grpc().await, event, progress));
    reading.spawn(read_the_file(app.grpc().await));
    let mut health = Kept::open(http).await;
    let mut changes = scene.watch_health().await;
    // The drain waits for it, so that what is said meanwhile can be heard.
    let in_hand = InHand::begin(http).await;
    for _ in 0..20 {
        within("progress", under_way.recv()).await.expect("publishers");
    }
    drop(under_way);

    scene.break_down(name, fault);
    let said = async || {
        let (status, body) = health.request(Method::GET, "/health", "").await;
        (status == 503).then_some(body)
    };
    let said = eventually("health says so", said).await;
    assert_eq!(said["status"], "draining", "{said}");
    assert!(said["detail"].as_str().is_some_and(|detail| detail.contains(&format!("`{name}`"))), "{said}");
    scene::until_not_serving(&mut changes).await;
    drop((changes, health));
    let mut accepted = within("a definite answer", publishing.join_all()).await.concat();

    let answer = in_hand.finish().await;
    assert!(["HTTP/1.1 200 OK", "HTTP/1.1 503 Service Unavailable"].contains(&answer.as_str()), "{answer}");
    within("the end of the subscriber", subscriber.join_all()).await;
    within("the end of the reader", reading.join_all()).await;
    let (outcome, data) = scene.end().await;
    let error = format!("{:#}", outcome.expect_err("a failure"));
    assert!(error.contains(&format!("`{name}`")), "{error}");
    let kept = kept_in(&data).await;
    accepted.retain(|seq| !kept.contains(seq));
    assert_eq!(accepted, [0; 0], "accepted, and not in the journal");
}

/// Ends each part once in each way.
async fn each_ends() {
    for name in Scene::start().await.names() {
        for fault in [InjectedFault::End, InjectedFault::Panic] {
            eprintln!("{name}: {fault:?}");
            Box::pin(ends(&name, fault)).await;
        }
    }
}

#[tokio::test]
async fn each_part_that_ends_takes_the_service_down_in_order() {
    each_ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_part_that_ends_takes_the_service_down_in_order_on_many_threads() {
    each_ends().await;
}

#[tokio::test]
async fn the_followers_of_files_are_parts_like_any_other() {
    for name in ["tls-files", "grants-file"] {
        for fault in [InjectedFault::End, InjectedFault::Panic] {
            let scene = Scene::with_tls().await;
            scene.break_down(name, fault);
            let (outcome, _data) = scene.end().await;
            let error = format!("{:#}", outcome.expect_err("a failure"));
            assert!(error.contains(&format!("`{name}`")), "{error}");
        }
    }
}

// what ends because it was asked to is no failure
#[tokio::test]
async fn an_end_that_was_asked_for_is_none_of_a_part() {
    for scene in [Scene::start().await, Scene::with_tls().await] {
        let running = scene.app.begin_shutdown();
        within("the end", running).await.expect("no panic").expect("no failure");
    }
}

// a part that fails while the service is on its way out is a failure, and does not hold it up
#[tokio::test]
async fn a_part_that_fails_during_the_drain_is_told_too() {
    let scene = Scene::start().await;
    let mut changes = scene.watch_health().await;
    let workers = scene.app.workers().clone();
    let in_hand = InHand::begin(scene.app.http()).await;
    let running = scene.app.begin_shutdown();
    scene::until_not_serving(&mut changes).await;
    drop(changes);
    workers.find("broker").expect("it is watched").inject(InjectedFault::Panic);
    in_hand.finish().await;
    let outcome = within("the end", running).await.expect("no panic");
    assert!(format!("{:#}", outcome.expect_err("a failure")).contains("`broker`"));
}
