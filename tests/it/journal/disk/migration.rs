//! The first start on an older layout, cut off at any moment: the next one carries the journal forward as if it were the first,
//! and a copy that is kept of it as it was is whole.

use std::fs;

use rand::{RngExt, rngs::StdRng};

use super::{
    super::{
        service::Home,
        tools::layout_1::{has_all, home},
    },
    Disk, Whereabouts, cuts,
    image::Image,
    is_long, put, random,
    record::{self, Entry},
    workload::is_sound,
};

/// The fixture, and the places that it has.
const FIXTURES: [(&str, u64, u64); 2] = [("stopped", 15, 84), ("killed", 19, 88)];

/// The file as it was, beside the journal.
const COPY: &str = "notifications.db.layout-1";

/// The journal has the newest layout and all that the older one had.
async fn is_carried_forward(home: &Home, oldest: u64, newest: u64) {
    let service = home.start().await;
    assert_eq!(service.publish("after").await, newest + 1);
    service.stop().await;
    let layout = |path: &std::path::Path| {
        let file = rusqlite::Connection::open(path).expect("opens");
        file.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0)).expect("a number")
    };
    assert_eq!(layout(&home.file()), 2);
    is_sound(home).await;
    let copy = home.data.join(COPY);
    assert_eq!(layout(&copy), 1);
    // Whoever goes back to the older version puts the copy in the journal's place.
    fs::remove_dir_all(home.data.join("..").join("back")).or(Ok::<_, std::io::Error>(())).expect("none");
    let back = Home::new(&home.data.parent().expect("a folder").join("back"), &[]);
    fs::create_dir(&back.data).expect("a directory");
    fs::copy(&copy, back.file()).expect("copies");
    has_all(&back, oldest, newest).await;
}

/// What the start of a service on a fixture does to the disk, until it serves.
async fn start_on(fixture: &str) -> (Image, Vec<Entry>) {
    let (folder, home) = home(fixture);
    let before = Image::of(&home.data);
    let disk = Disk::new(&home.data, folder.path());
    let service = disk.recorded(&home, &[]).start().await;
    let served = disk.now();
    service.kill().await;
    (before, record::read(&disk.log()).into_iter().filter(|entry| entry.begins < served).collect())
}

#[tokio::test]
async fn a_kill_at_any_operation_of_a_migration_is_as_if_it_had_not_begun() {
    let mut random = random("MIGRATION_SEED");
    for (fixture, oldest, newest) in FIXTURES {
        let operations = start_on(fixture).await.1.len() as u64;
        for kill_at in chosen(operations, &mut random) {
            let (folder, home) = home(fixture);
            let disk = Disk::new(&home.data, folder.path());
            disk.start_and_kill_at(&home, kill_at).await;
            let _whereabouts = Whereabouts::at(format!("{fixture}: killed at operation {kill_at}"), &home.data);
            is_carried_forward(&home, oldest, newest).await;
        }
    }
}

#[tokio::test]
async fn a_power_cut_in_a_migration_is_as_if_it_had_not_begun() {
    let mut random = random("MIGRATION_SEED");
    for (fixture, oldest, newest) in FIXTURES {
        let (before, record) = start_on(fixture).await;
        for _ in 0..cuts::cuts(5, 60) {
            let moment = random.random_range(0..record.len());
            let mut image = before.clone();
            record[..moment].iter().for_each(|entry| image.apply(&entry.operation, &mut random));
            let files = image.cut(&record[moment].operation, &mut random);
            let (_folder, home) = home(fixture);
            put(&home.data, &files);
            let _whereabouts = Whereabouts { place: format!("{fixture}: operation {moment}"), files };
            is_carried_forward(&home, oldest, newest).await;
        }
    }
}

#[tokio::test]
async fn no_copy_is_kept_where_none_is_wanted() {
    let (_folder, mut home) = home("stopped");
    home.set("JOURNAL_NO_COPY", "true");
    home.start().await.stop().await;
    assert!(!home.data.join(COPY).exists());
    has_all(&home, 15, 84).await;
}

/// Some of the numbers up to `last`, or all of them.
fn chosen(last: u64, random: &mut StdRng) -> Vec<u64> {
    if is_long() { (1..=last).collect() } else { (0..6).map(|_| random.random_range(1..=last)).collect() }
}
