//! The first start on an older layout, cut off at any moment: the next one carries the journal forward as if it were the first,
//! and a copy that is kept of it as it was is whole.

use std::{fs, path::Path};

use rand::{RngExt, rngs::StdRng};

use super::{
    super::{
        service::Home,
        tools::layout_1::{Fixture, KILLED, STOPPED},
    },
    Disk, Whereabouts, cuts,
    image::Image,
    is_long, put, random,
    record::{self, Entry},
    workload::is_sound,
};

const FIXTURES: [Fixture; 2] = [STOPPED, KILLED];

/// The file as it was, beside the journal.
const COPY: &str = "notifications.db.layout-1";

/// The journal has the newest layout and all that the older one had.
async fn is_carried_forward(home: &Home, fixture: &Fixture) {
    let service = home.start().await;
    assert_eq!(service.publish("after").await, fixture.newest + 1);
    service.stop().await;
    assert_eq!(layout(&home.file()), 2);
    is_sound(home).await;
    copy_is_whole(home, fixture).await;
}

/// The layout that a file has.
pub(in crate::journal) fn layout(path: &Path) -> i64 {
    let file = rusqlite::Connection::open(path).expect("opens");
    file.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a number")
}

/// Beside the journal is a copy that has all of it as it was.
pub(in crate::journal) async fn copy_is_whole(home: &Home, fixture: &Fixture) {
    let copy = home.data.join(COPY);
    assert_eq!(layout(&copy), 1);
    // Whoever goes back to the older version puts the copy in the journal's place.
    fs::remove_dir_all(home.data.join("..").join("back")).or(Ok::<_, std::io::Error>(())).expect("none");
    let back = Home::new(&home.data.parent().expect("a folder").join("back"), &[]);
    fs::create_dir(&back.data).expect("a directory");
    fs::copy(&copy, back.file()).expect("copies");
    fixture.is_all_of(&back).await;
}

/// What the start of a service on a fixture does to the disk, until it serves.
async fn start_on(fixture: &Fixture) -> (Image, Vec<Entry>) {
    let (folder, home) = fixture.home();
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
    for fixture in &FIXTURES {
        let operations = start_on(fixture).await.1.len() as u64;
        for kill_at in chosen(operations, &mut random) {
            let (folder, home) = fixture.home();
            let disk = Disk::new(&home.data, folder.path());
            disk.start_and_kill_at(&home, kill_at).await;
            let _whereabouts = Whereabouts::at(format!("{}: killed at operation {kill_at}", fixture.name), &home.data);
            is_carried_forward(&home, fixture).await;
        }
    }
}

#[tokio::test]
async fn a_power_cut_in_a_migration_is_as_if_it_had_not_begun() {
    let mut random = random("MIGRATION_SEED");
    for fixture in &FIXTURES {
        let (before, record) = start_on(fixture).await;
        for _ in 0..cuts::cuts(5, 60) {
            let moment = random.random_range(0..record.len());
            let mut image = before.clone();
            record[..moment].iter().for_each(|entry| image.apply(&entry.operation, &mut random));
            let files = image.cut(&record[moment].operation, &mut random);
            let (_folder, home) = fixture.home();
            put(&home.data, &files);
            let _whereabouts = Whereabouts { place: format!("{}: operation {moment}", fixture.name), files };
            is_carried_forward(&home, fixture).await;
        }
    }
}

#[tokio::test]
async fn no_copy_is_kept_where_none_is_wanted() {
    let (_folder, mut home) = STOPPED.home();
    home.set("JOURNAL_NO_COPY", "true");
    home.start().await.stop().await;
    assert!(!home.data.join(COPY).exists());
    STOPPED.is_all_of(&home).await;
}

/// Some of the numbers up to `last`, or all of them.
fn chosen(last: u64, random: &mut StdRng) -> Vec<u64> {
    if is_long() { (1..=last).collect() } else { (0..6).map(|_| random.random_range(1..=last)).collect() }
}
