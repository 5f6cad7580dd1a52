//! The tools that read, on a disk that is full or not to be written to.

use std::{fs, path::Path};

use super::{
    super::{faults::permit, mount::Mount},
    Home, done, refused, text,
};

/// All that the journal has is there: it is sound, an export has it, and so has a backup.
async fn is_read(home: &Home, elsewhere: &Path) {
    fs::create_dir(elsewhere).expect("a folder");
    let said = done(home, &["check"]).await;
    assert!(said.contains("5 notifications, places 1 to 5; 5 idempotency keys"), "{said}");
    let said = done(home, &["export", "--out", text(&elsewhere.join("lines"))]).await;
    assert!(said.contains("exported 5 notifications and 5 idempotency keys"), "{said}");
    let said = done(home, &["backup", text(&elsewhere.join("copy.db"))]).await;
    assert!(said.contains("places 1 to 5"), "{said}");
}

#[tokio::test]
#[ignore = "mounts a file system: needs root"]
async fn a_journal_on_a_disk_that_cannot_be_written_to_is_read() {
    let elsewhere = tempfile::tempdir().expect("a folder");
    for killed in [false, true] {
        let (mount, home) = Mount::filled(killed).await;
        mount.freeze();
        is_read(&home, &elsewhere.path().join(killed.to_string())).await;
    }
}

#[tokio::test]
#[ignore = "runs the tools without the rights of root: needs root"]
async fn a_journal_that_may_not_be_written_to_is_read() {
    let elsewhere = tempfile::tempdir().expect("a folder");
    for killed in [false, true] {
        let (_folder, home) = Home::scratch(&[]);
        let home = home.bound_by_permissions();
        home.filled(5).await.end(killed).await;
        permit(&home.data, 0o555, 0o444);
        is_read(&home, &elsewhere.path().join(killed.to_string())).await;
        permit(&home.data, 0o755, 0o644);
    }
}

#[tokio::test]
#[ignore = "mounts a file system: needs root"]
async fn a_journal_on_a_full_disk_is_read_unless_a_service_holds_it_alone() {
    let elsewhere = tempfile::tempdir().expect("a folder");
    for killed in [false, true] {
        let (mount, home) = Mount::filled(killed).await;
        if killed {
            // As a power cut leaves it.
            fs::remove_file(home.file().with_extension("db-shm")).expect("removes");
        }
        mount.take_all();
        is_read(&home, &elsewhere.path().join(killed.to_string())).await;
        let service = home.start().await;
        for tool in [&["check"][..], &["export"], &["backup", text(&elsewhere.path().join("another.db"))]] {
            let said = refused(&home, tool).await;
            assert!(said.contains("the service holds the file alone, since it started on a full disk"), "{said}");
        }
        service.kill().await;
        mount.give_back();
        let service = home.start().await;
        is_read(&home, &elsewhere.path().join(format!("{killed}-later"))).await;
        service.stop().await;
    }
}
