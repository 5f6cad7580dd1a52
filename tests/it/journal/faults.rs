//! Disks that are bad, full or not to be written to: each ends in a clear word, and nothing acknowledged is lost.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::Write,
    os::unix::fs::{FileExt, PermissionsExt},
    path::Path,
};

use super::{
    mount::Mount,
    service::{Home, event, marker, within},
    subscriber::Subscriber,
};

const PAGE: u64 = 4_096;

pub(super) async fn holds(home: &Home, count: usize) {
    let service = home.start().await;
    let markers: Vec<_> = service.history().await.0.iter().map(marker).collect();
    assert_eq!(markers, (0..count).map(|n| format!("e{n}")).collect::<Vec<_>>());
    service.stop().await;
}

/// A file that is refused is left as it is, and one line says what to do.
pub(super) async fn is_refused(home: &Home, because: &str) {
    let before = fs::read(home.file()).expect("the file");
    let said = home.refusal().await;
    assert!(said.contains(because) && said.contains("exposia-notifications journal"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(fs::read(home.file()).expect("the file"), before);
}

#[tokio::test]
async fn a_commit_that_was_torn_off_is_as_if_it_never_was() {
    let (_folder, home) = Home::scratch(&[]);
    home.filled(20).await.kill().await;
    let mut log = OpenOptions::new().append(true).open(home.log()).expect("a log is left behind");
    log.write_all(&[0x5a; 2_000]).expect("writes");
    holds(&home, 20).await;
}

#[tokio::test]
async fn a_page_that_was_torn_on_its_way_into_the_file_comes_from_the_log() {
    let (_folder, home) = Home::scratch(&[]);
    home.filled(20).await.kill().await;
    let file = OpenOptions::new().write(true).open(home.file()).expect("the file");
    let last = file.metadata().expect("a size").len() - PAGE;
    file.write_all_at(&[0x5a; 2_048], last).expect("writes");
    holds(&home, 20).await;
}

/// A log that is damaged in the middle looks to the database like one that ends there.
#[tokio::test]
async fn a_log_that_lost_what_was_acknowledged_is_refused_and_left_as_it_is() {
    let (folder, home) = Home::scratch(&[]);
    home.filled(20).await.kill().await;
    let log = OpenOptions::new().write(true).open(home.log()).expect("a log is left behind");
    log.write_all_at(&[0x5a; 100], log.metadata().expect("a size").len() / 2).expect("writes");
    let before = fs::read(home.log()).expect("the log");
    is_refused(&home, "20 was acknowledged").await;
    assert_eq!(fs::read(home.log()).expect("the log"), before);

    let check = home.run(&["journal", "check"]).await;
    assert_eq!(check.status.code(), Some(1));
    let lines = folder.path().join("lines");
    let lines = lines.to_str().expect("text");
    assert_eq!(home.run(&["journal", "export", "--out", lines]).await.status.code(), Some(1));
    let elsewhere = Home::new(&folder.path().join("elsewhere"), &[]);
    let import = elsewhere.run(&["journal", "import", lines]).await;
    assert!(String::from_utf8_lossy(&import.stdout).contains("the epoch is a new one"));
    elsewhere.start().await.stop().await;
}

#[tokio::test]
async fn a_file_that_lacks_its_end_is_refused() {
    let (_folder, home) = Home::scratch(&[]);
    home.filled(50).await.stop().await;
    let file = OpenOptions::new().write(true).open(home.file()).expect("the file");
    file.set_len(file.metadata().expect("a size").len() - PAGE).expect("cuts");
    is_refused(&home, "the journal is damaged").await;
}

#[tokio::test]
async fn a_file_with_a_broken_header_is_refused() {
    let (_folder, home) = Home::scratch(&[]);
    home.filled(5).await.stop().await;
    let file = OpenOptions::new().write(true).open(home.file()).expect("the file");
    file.write_all_at(&[0x5a; 100], 0).expect("writes");
    is_refused(&home, "the journal is damaged").await;
}

#[tokio::test]
async fn a_file_of_something_else_is_refused() {
    let (_folder, home) = Home::scratch(&[]);
    fs::create_dir_all(&home.data).expect("a directory");
    fs::write(home.file(), "this is a diary").expect("writes");
    is_refused(&home, "the journal is damaged").await;
}

#[tokio::test]
async fn a_file_of_a_later_version_is_refused() {
    let (_folder, home) = Home::scratch(&[]);
    home.filled(5).await.stop().await;
    let file = OpenOptions::new().write(true).open(home.file()).expect("the file");
    // The user version of an SQLite file.
    file.write_all_at(&999_u32.to_be_bytes(), 60).expect("writes");
    is_refused(&home, "this journal has schema 999").await;
}

#[tokio::test]
async fn a_file_where_the_directory_should_be_is_refused() {
    let (_folder, home) = Home::scratch(&[]);
    File::create(&home.data).expect("a file");
    let said = home.refusal().await;
    assert!(said.contains("DATA_DIR") && said.contains("must be a directory"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// A service that cannot write serves what can be read, and says so; it is well by itself as soon as it can.
async fn serves_what_can_be_read(home: &Home, count: usize, because: &str, mend: impl FnOnce()) {
    let service = home.start().await;
    let markers: Vec<_> = service.history().await.0.iter().map(marker).collect();
    assert_eq!(markers, (0..count).map(|n| format!("e{n}")).collect::<Vec<_>>());
    let mut subscriber = Subscriber::connect(home, "s", "u", "r").await;
    // What the start carried over from the log left some room there.
    let mut accepted = 0;
    while service.notify(&event(&format!("e{}", count + accepted)), None).await.expect("an answer").0 != 503 {
        accepted += 1;
    }
    let count = count + accepted;
    let (status, health) = service.health().await;
    assert_eq!((status, &health["status"]), (200, &"degraded".into()), "{health}");
    assert!(health["detail"].as_str().is_some_and(|detail| detail.contains(because)), "{health}");
    mend();
    within("health by itself", async { while service.health().await.1["status"] != "healthy" {} }).await;
    assert_eq!(service.publish(&format!("e{count}")).await, count as u64 + 1);
    within("live delivery", subscriber.listen(accepted + 1)).await;
    let held = service.history().await.0.len();
    assert_eq!(held, count + 1);
    service.kill().await;
    holds(home, count + 1).await;
}

#[tokio::test]
#[ignore = "mounts a file system: needs root"]
async fn a_directory_that_cannot_be_written_to_is_served_from() {
    for killed in [false, true] {
        let (mount, home) = Mount::filled(killed).await;
        mount.freeze();
        serves_what_can_be_read(&home, 5, "written to", || mount.thaw()).await;
    }
}

/// Gives a directory and what is in it these permissions.
pub(super) fn permit(data: &Path, directory: u32, files: u32) {
    let give = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
    for file in fs::read_dir(data).expect("a directory") {
        give(&file.expect("a file").path(), files);
    }
    give(data, directory);
}

#[tokio::test]
#[ignore = "starts the service without the rights of root: needs root"]
async fn a_directory_that_the_service_may_not_write_to_is_served_from() {
    for killed in [false, true] {
        for (directory, files) in [(0o555, 0o444), (0o755, 0o444)] {
            let (_folder, home) = Home::scratch(&[]);
            let home = home.bound_by_permissions();
            home.filled(5).await.end(killed).await;
            permit(&home.data, directory, files);
            serves_what_can_be_read(&home, 5, "written to", || permit(&home.data, 0o755, 0o644)).await;
        }
    }
}

#[tokio::test]
#[ignore = "starts the service without the rights of root: needs root"]
async fn a_directory_that_the_service_may_not_use_is_refused() {
    for (held, directory) in [(0, 0o555), (5, 0o000)] {
        let (_folder, home) = Home::scratch(&[]);
        let home = home.bound_by_permissions();
        home.filled(held).await.stop().await;
        if held == 0 {
            fs::remove_dir_all(&home.data).and_then(|()| fs::create_dir(&home.data)).expect("it is ours");
        }
        permit(&home.data, directory, 0o644);
        let said = home.refusal().await;
        assert!(said.contains("DATA_DIR") && said.contains("may write to"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        permit(&home.data, 0o755, 0o644);
        holds(&home, held).await;
    }
}

#[tokio::test]
#[ignore = "mounts a file system: needs root"]
async fn a_directory_that_holds_no_journal_and_cannot_be_written_to_is_refused() {
    let mount = Mount::new();
    let home = mount.home();
    mount.freeze();
    let said = home.refusal().await;
    assert!(said.contains("DATA_DIR") && said.contains("may write to"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[tokio::test]
#[ignore = "mounts a file system: needs root"]
async fn a_start_on_a_full_disk_serves_what_can_be_read() {
    for killed in [true, false] {
        let (mount, home) = Mount::filled(killed).await;
        mount.take_all();
        serves_what_can_be_read(&home, 5, "", || mount.give_back()).await;
    }
}

#[tokio::test]
#[ignore = "mounts a file system: needs root"]
async fn a_full_disk_fails_publishes_and_nothing_else_until_there_is_room() {
    let mount = Mount::new();
    // As much as the log takes, so that all of it can be carried over afterwards.
    mount.take(2_000_000);
    let home = mount.home();
    let service = home.start().await;
    let mut subscriber = Subscriber::connect(&home, "s", "u", "r").await;
    let mut accepted = 0;
    let padding = "x".repeat(10_000);
    let refused = loop {
        let mut body = event(&format!("e{accepted}"));
        body["payload"]["padding"] = padding.as_str().into();
        match service.notify(&body, None).await.expect("an answer") {
            (200, _) => accepted += 1,
            refused => break refused,
        }
    };
    assert_eq!(refused.0, 503, "{}", refused.1);
    assert!(refused.1["detail"].as_str().is_some_and(|detail| detail.contains("full")), "{}", refused.1);
    let (status, health) = service.health().await;
    assert_eq!((status, &health["status"]), (200, &"degraded".into()), "{health}");
    assert!(health["detail"].as_str().is_some_and(|detail| detail.contains("full")), "{health}");
    within("live delivery", subscriber.listen(accepted)).await;

    mount.give_back();
    within("health by itself", async { while service.health().await.1["status"] != "healthy" {} }).await;
    assert_eq!(service.publish(&format!("e{accepted}")).await, accepted as u64 + 1);
    within("live delivery", subscriber.listen(accepted + 1)).await;
    assert_eq!(subscriber.got, (1..=accepted as u64 + 1).collect::<Vec<_>>());
    service.kill().await;
    holds(&home, accepted + 1).await;
}
