//! Disks whose writes and syncs fail or hang: publishers get a definite answer, health says so and is well again by itself,
//! and nothing that was acknowledged is lost or there twice.

use std::{sync::Arc, time::Duration};

use exposia_notifications::wire::proto::v1::{PublishRequest, PublishResult, publish_result::Outcome};
use rand::{RngExt, rngs::StdRng};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use super::{
    super::{
        service::{Home, Service, event, marker, notify, within},
        subscriber::Subscriber,
    },
    Disk, Whereabouts,
    cuts::{Run, cuts},
    is_long, random,
    record::{self, Operation},
    workload::{Ledger, Plan, Promise, SMALL, is_sound},
};

/// Syncs that a first start surely has behind it.
const STARTED: u64 = 40;

/// The error of a disk that is full.
const ENOSPC: u64 = 28;

fn home(settings: &[(&'static str, &'static str)]) -> (TempDir, Home, Arc<Disk>) {
    let (folder, home) = Home::scratch(&[&SMALL, settings].concat());
    let disk = Arc::new(Disk::new(&home.data, folder.path()));
    (folder, home, disk)
}

/// Waits until health is what `is` wants, and gives it.
async fn health(service: &Service, is: impl Fn(&Value) -> bool) -> Value {
    within("health", async {
        loop {
            let (status, health) = service.health().await;
            assert_eq!(status, 200, "{health}");
            if is(&health) {
                return health;
            }
        }
    })
    .await
}

async fn is_well(service: &Service) {
    health(service, |health| health["status"] == "healthy").await;
}

#[tokio::test]
async fn a_sync_that_fails_once_loses_nothing() {
    let mut random = random("SYNCS_SEED");
    for _ in 0..if is_long() { 60 } else { 6 } {
        let (_folder, home, disk) = home(&[]);
        let fails = random.random_range(STARTED..STARTED + 60);
        let _whereabouts = Whereabouts::at(format!("sync {fails} fails"), &home.data);
        let service = disk.recorded(&home, &[("DISK_FAIL_SYNC", fails)]).start().await;
        let ledger = Arc::new(Ledger::default());
        let (_, epoch) = service.history().await;
        ledger.fill(&service, &disk, Plan { until: 900, unsynced: 8, patient: true }, &mut random).await;
        is_well(&service).await;
        service.kill().await;
        let failed = |entry: &record::Entry| matches!(entry.operation, Operation::FailedSync { .. });
        assert_eq!(record::read(&disk.log()).iter().filter(|entry| failed(entry)).count(), 1);

        let service = disk.recorded(&home, &[]).start().await;
        let promise = Promise { ledger: &ledger, epoch: &epoch, until: u64::MAX, by_kill: true, all_synced: false };
        promise.is_kept_by(&service, &mut random).await;
        is_sound(&home).await;
        service.kill().await;
    }
}

/// Cuts the power behind a sync that failed: what waited for it may be gone for good, though later ones succeed.
async fn is_cut_behind_a_failed_sync(unsynced: u32, count: usize, random: &mut StdRng) {
    // Behind the syncs of the start, and early enough that there are as many.
    let fails = random.random_range(8..20);
    let run = Run::new(&[], unsynced, &[("DISK_FAIL_SYNC", fails)], random).await;
    let moments = run.moments_behind(&|operation| matches!(operation, Operation::FailedSync { .. }), count, random);
    run.is_cut(&moments, random).await;
}

#[tokio::test]
async fn what_is_acknowledged_behind_a_failed_sync_survives_a_power_cut() {
    let mut random = random("SYNCS_SEED");
    for _ in 0..cuts(2, 10) {
        is_cut_behind_a_failed_sync(0, 5, &mut random).await;
    }
}

// The log ends at what a failed sync has lost of it, whatever is synced behind that
#[tokio::test]
async fn what_is_synced_behind_a_failed_sync_survives_a_power_cut_among_what_is_not() {
    let mut random = random("SYNCS_SEED");
    for _ in 0..cuts(10, 40) {
        is_cut_behind_a_failed_sync(60, 10, &mut random).await;
    }
}

/// From some moment on nothing can be written, and then it can again.
async fn a_disk_fails_for_a_while(error: u64, says: &str) {
    let (_folder, home, disk) = home(&[]);
    let asked = [("DISK_FAIL_FROM", 5 * STARTED), ("DISK_FAIL_WITH", error)];
    let service = disk.recorded(&home, &asked).start().await;
    let mut subscriber = Subscriber::connect(&home, "s", "u", "r").await;
    let mut accepted = 0;
    let refused = loop {
        match service.publish_keyed(accepted).await {
            (200, _) => accepted += 1,
            refused => break refused,
        }
    };
    assert_eq!(refused.0, 503, "{}", refused.1);
    let health = health(&service, |health| health["status"] == "degraded").await;
    assert!(health["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{health}");
    assert_eq!(service.history().await.0.len(), accepted, "what is there can be read");
    within("live delivery", subscriber.listen(accepted)).await;

    disk.mend();
    is_well(&service).await;
    let (status, answer) = service.publish_keyed(accepted).await;
    assert_eq!((status, &answer["sequence"]), (200, &json!(accepted + 1)), "{answer}");
    within("live delivery", subscriber.listen(accepted + 1)).await;
    service.kill().await;
    let service = disk.recorded(&home, &[]).start().await;
    let markers: Vec<_> = service.history().await.0.iter().map(marker).collect();
    assert_eq!(markers, (0..=accepted).map(|n| format!("e{n}")).collect::<Vec<_>>());
    is_sound(&home).await;
    service.stop().await;
}

#[tokio::test]
async fn a_disk_that_fails_for_a_while_is_told_and_well_again_by_itself() {
    a_disk_fails_for_a_while(5, "cannot be used").await;
}

#[tokio::test]
async fn a_disk_that_is_full_for_a_while_is_told_and_well_again_by_itself() {
    a_disk_fails_for_a_while(ENOSPC, "full").await;
}

/// A journal whose last process was killed, with these many events in its log.
async fn killed(home: &Home, disk: &Disk, count: usize) {
    let service = disk.recorded(home, &[]).start().await;
    for n in 0..count {
        assert_eq!(service.publish(&format!("e{n}")).await, n as u64 + 1);
    }
    service.kill().await;
}

#[tokio::test]
async fn a_start_that_fails_at_a_sync_says_so_and_the_next_one_is_well() {
    let (_folder, home, disk) = home(&[]);
    killed(&home, &disk, 20).await;
    for fails in 1..=4 {
        match disk.recorded(&home, &[("DISK_FAIL_SYNC", fails)]).try_start().await {
            Ok(service) => service.kill().await,
            Err(said) => assert!(said.len() == 1 && said[0].starts_with("error: "), "sync {fails}: {said:?}"),
        }
        let service = disk.recorded(&home, &[]).start().await;
        assert_eq!(service.history().await.0.len(), 20, "sync {fails}");
        service.kill().await;
    }
}

// A start on a full disk serves what can be read
#[tokio::test]
async fn a_start_on_a_full_disk_serves_what_is_there() {
    let (_folder, home, disk) = home(&[]);
    killed(&home, &disk, 20).await;
    let full = [("DISK_FAIL_FROM", 1), ("DISK_FAIL_WITH", ENOSPC)];
    let service = disk.recorded(&home, &full).start().await;
    assert_eq!(service.history().await.0.len(), 20);
    let health = health(&service, |health| health["status"] == "degraded").await;
    assert!(health["detail"].as_str().is_some_and(|detail| detail.contains("full")), "{health}");
    let (status, answer) = service.notify(&event("refused"), None).await.expect("an answer");
    assert_eq!(status, 503, "{answer}");
    disk.mend();
    is_well(&service).await;
    assert_eq!(service.publish("e20").await, 21);
    service.stop().await;
}

// A commit that takes long is told, and whoever waits for it gets an answer in time
#[tokio::test]
async fn a_sync_that_hangs_is_told_and_its_publisher_is_answered() {
    let (_folder, home, disk) = home(&[("PUBLISH_TIMEOUT", "1s")]);
    let service = disk.recorded(&home, &[("DISK_HOLD_SYNC", STARTED)]).start().await;
    let mut accepted = 0;
    let refused = loop {
        match within("an answer", service.publish_keyed(accepted)).await {
            (200, _) => accepted += 1,
            refused => break refused,
        }
    };
    assert_eq!(refused.0, 503, "{}", refused.1);
    assert!(refused.1["detail"].as_str().is_some_and(|detail| detail.contains("key")), "{}", refused.1);
    let is_slow = |health: &Value| health["detail"].as_str().is_some_and(|detail| detail.contains("slow"));
    health(&service, is_slow).await;
    disk.mend();
    is_well(&service).await;
    let (status, answer) = service.publish_keyed(accepted).await;
    assert_eq!((status, &answer["sequence"]), (200, &json!(accepted + 1)), "{answer}");
    let markers: Vec<_> = service.history().await.0.iter().map(marker).collect();
    assert_eq!(markers, (0..=accepted).map(|n| format!("e{n}")).collect::<Vec<_>>());
    service.stop().await;
}

/// Opens a stream on a service whose disk hangs, and publishes this through it.
async fn publish_through(service: &Service, request: PublishRequest) -> PublishResult {
    let mut grpc = service.grpc.clone();
    let (requests, queue) = mpsc::channel(1);
    requests.send(request).await.expect("there is room");
    let mut results =
        within("a stream", grpc.publish_stream(ReceiverStream::new(queue))).await.expect("a stream").into_inner();
    within("a result", results.message()).await.expect("it goes on").expect("a result")
}

// What needs no disk waits for none, though its queue is full: here everything else waits for an hour
#[tokio::test]
async fn what_needs_no_disk_is_answered_while_it_hangs() {
    let (_folder, home, disk) = home(&[("PUBLISH_TIMEOUT", "1h"), ("PUBLISH_QUEUE", "1")]);
    let service = disk.recorded(&home, &[("DISK_HOLD_SYNC", STARTED)]).start().await;
    let mut subscriber = Subscriber::connect(&home, "s", "u", "r").await;
    let mut publishing = JoinSet::new();
    for _ in 0..100 {
        let (client, http) = (service.rest.clone(), home.http());
        publishing.spawn(async move {
            while notify(&client, &http, &event("e"), None).await.is_ok_and(|(status, _)| status == 200) {}
        });
    }
    health(&service, |health| health["status"] == "degraded").await;

    let mut ephemeral = event("ephemeral");
    ephemeral["durability"] = json!("ephemeral");
    let (status, answer) = within("an answer", service.notify(&ephemeral, None)).await.expect("an answer");
    assert_eq!((status, &answer["sequence"]), (200, &json!(0)), "{answer}");
    let is_it = |message: Option<Value>| message.expect("it stays connected")["payload"]["marker"] == "ephemeral";
    within("live delivery", async { while !is_it(subscriber.next().await) {} }).await;
    let result = publish_through(&service, PublishRequest::default()).await;
    let Some(Outcome::Rejected(rejection)) = result.outcome else { panic!("{result:?}") };
    assert_eq!(Code::from(rejection.code), Code::InvalidArgument);
    service.kill().await;
}

/// A service whose disk hangs, and how many events were accepted before.
async fn hanging(home: &Home, disk: &Disk) -> (Service, u64) {
    let service = disk.recorded(home, &[("DISK_HOLD_SYNC", STARTED)]).start().await;
    let mut accepted = 0;
    while within("an answer", service.notify(&event("e"), None)).await.expect("one").0 == 200 {
        accepted += 1;
    }
    (service, accepted)
}

// What nobody answers in time is rejected in its place, and the stream goes on
#[tokio::test]
async fn a_stream_goes_on_over_a_sync_that_hangs() {
    let (_folder, home, disk) = home(&[("PUBLISH_TIMEOUT", "1s")]);
    let (service, accepted) = hanging(&home, &disk).await;
    let (requests, queue) = mpsc::channel(1);
    let mut grpc = service.grpc.clone();
    let results = within("a stream", grpc.publish_stream(ReceiverStream::new(queue))).await.expect("a stream");
    let mut results = results.into_inner();
    for index in 0..2 {
        requests.send(PublishRequest { event: "e".into(), ..Default::default() }).await.expect("it is open");
        let result = within("a result", results.message()).await.expect("it goes on").expect("a result");
        let Some(Outcome::Rejected(rejection)) = result.outcome else { panic!("{result:?}") };
        assert_eq!((result.index, Code::from(rejection.code)), (index, Code::Unavailable));
        assert!(rejection.retry_after.is_some() && rejection.message.contains("key"), "{rejection:?}");
    }
    disk.mend();
    is_well(&service).await;
    requests.send(PublishRequest { event: "e".into(), ..Default::default() }).await.expect("it is open");
    let result = within("a result", results.message()).await.expect("it goes on").expect("a result");
    let Some(Outcome::Accepted(answer)) = result.outcome else { panic!("{result:?}") };
    // Behind the one over REST that hung first, and the two of the stream.
    assert_eq!((result.index, answer.sequence), (2, accepted + 4));
    drop((requests, results, grpc));
    service.stop().await;
}

// A disk that hangs holds up nobody who ends the service
#[tokio::test]
async fn a_service_ends_in_its_time_though_the_disk_hangs() {
    let (_folder, home, disk) = home(&[("PUBLISH_TIMEOUT", "1s"), ("SHUTDOWN_GRACE", "2s")]);
    let (mut service, accepted) = hanging(&home, &disk).await;
    service.terminate().await;
    // The grace time, a second for the file and one for the log, and as much again for a machine that is busy.
    let ended = timeout(Duration::from_secs(8), service.ended()).await.expect("it ends in its time");
    assert!(ended.success(), "{ended}");
    let service = disk.recorded(&home, &[]).start().await;
    let kept = service.history().await.0.len() as u64;
    // What was answered that nobody knows may be there.
    assert!([accepted, accepted + 1].contains(&kept), "{kept} of {accepted}");
    service.stop().await;
}
