//! The very first start, cut off at any moment: the next one finds a directory that it can begin in. And starts that hang.

use std::{fs, process::Stdio, time::Duration};

use rand::{RngExt, rngs::StdRng};
use tokio::task::yield_now;

use super::{
    super::service::{Home, terminate, within},
    Disk, Whereabouts, cuts,
    image::Image,
    is_long, put, random,
    record::{self, Entry},
    workload::{SMALL, is_sound},
};

/// The longest time that a first start is left alone for.
const LONGEST: Duration = Duration::from_millis(1_000);

/// A service begins in the directory as if nothing had been there.
async fn begins(home: &Home) {
    let service = home.start().await;
    let (history, _) = service.history().await;
    assert!(history.is_empty(), "{history:?}");
    assert_eq!(service.publish("the first").await, 1);
    is_sound(home).await;
    service.kill().await;
}

/// What a first start does to the disk, until it serves.
async fn first_start() -> Vec<Entry> {
    let (folder, home) = Home::scratch(&SMALL);
    let disk = Disk::new(&home.data, folder.path());
    let service = disk.recorded(&home, &[]).start().await;
    let served = disk.now();
    service.kill().await;
    record::read(&disk.log()).into_iter().filter(|entry| entry.begins < served).collect()
}

#[tokio::test]
async fn a_kill_in_the_first_second_leaves_a_directory_to_begin_in() {
    let mut random = random("FIRST_START_SEED");
    let rounds = if is_long() { 300 } else { 10 };
    for round in 0..rounds {
        let (_folder, home) = Home::scratch(&SMALL);
        // Most of a start is over soon.
        let longest = LONGEST / [1, 4, 16][random.random_range(0..3)];
        let moment = Duration::from_micros(random.random_range(0..longest.as_micros() as u64));
        let mut process = home.spawn(Stdio::null());
        // The moment of the kill is what is random here; nothing waits for this time to be enough for anything.
        tokio::time::sleep(moment).await;
        process.kill().await.expect("kills");
        let _whereabouts = Whereabouts::at(format!("round {round}: killed after {moment:?}"), &home.data);
        begins(&home).await;
    }
}

#[tokio::test]
async fn a_kill_at_any_operation_of_the_first_start_leaves_a_directory_to_begin_in() {
    let mut random = random("FIRST_START_SEED");
    // More than are counted: the last of them are not reached, and what serves by then is killed.
    let operations = first_start().await.len() as u64;
    for kill_at in chosen(operations, &mut random) {
        let (folder, home) = Home::scratch(&SMALL);
        let disk = Disk::new(&home.data, folder.path());
        disk.start_and_kill_at(&home, kill_at).await;
        let _whereabouts = Whereabouts::at(format!("killed at operation {kill_at} of {operations}"), &home.data);
        begins(&home).await;
    }
}

#[tokio::test]
async fn a_power_cut_in_the_first_start_leaves_a_directory_to_begin_in() {
    let mut random = random("FIRST_START_SEED");
    let record = first_start().await;
    for _ in 0..cuts::cuts(15, 200) {
        let moment = random.random_range(0..record.len());
        let mut image = Image::default();
        record[..moment].iter().for_each(|entry| image.apply(&entry.operation, &mut random));
        let files = image.cut(&record[moment].operation, &mut random);
        let (_folder, home) = Home::scratch(&SMALL);
        put(&home.data, &files);
        let _whereabouts = Whereabouts { place: format!("operation {moment} of {}", record.len()), files };
        begins(&home).await;
    }
}

/// Some of the numbers up to `last`, or all of them.
fn chosen(last: u64, random: &mut StdRng) -> Vec<u64> {
    if is_long() { (1..=last).collect() } else { (0..10).map(|_| random.random_range(1..=last)).collect() }
}

/// Starts a service whose disk hangs, and ends it while it waits for that.
async fn is_ended_while_it_starts(home: &Home, disk: &Disk) {
    let recorded = || fs::metadata(disk.log()).map_or(0, |record| record.len());
    let before = recorded();
    let process = disk.recorded(home, &[("DISK_HOLD_SYNC", 1)]).spawn(Stdio::piped());
    // What is recorded first is the process; when it opens its files, it listens to signals.
    while recorded() <= before + record::HEAD as u64 {
        yield_now().await;
    }
    terminate(&process).await;
    let output = within("the end", process.wait_with_output()).await.expect("it ends");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(output.status.success() && said.contains("before it served"), "{}: {said}", output.status);
}

// Nothing is lost by ending a start, so nobody waits for it
#[tokio::test]
async fn a_start_that_hangs_is_ended_by_a_signal() {
    let (folder, home) = Home::scratch(&SMALL);
    let disk = Disk::new(&home.data, folder.path());
    is_ended_while_it_starts(&home, &disk).await;
    let service = disk.recorded(&home, &[]).start().await;
    assert_eq!(service.publish("the first").await, 1);
    service.kill().await;
    is_ended_while_it_starts(&home, &disk).await;
    let service = disk.recorded(&home, &[]).start().await;
    assert_eq!(service.publish("the second").await, 2);
    service.stop().await;
}
