//! What every engine must do with what is appended.

use std::{sync::Arc, time::Duration};

use futures_util::future::{join_all, poll_immediate};
use tokio::task::yield_now;

use super::{Fate, append, append_many, entry, everything, keyed, next_seqs, options, room, user};
use crate::{
    domain::{Audience, Seq},
    journal::{Bounds, Journal, Options, Outcome},
};

pub(in crate::journal) async fn places_are_consecutive_and_ids_unique<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    let journal = open(&options());
    assert_eq!(journal.bounds(), Bounds::of_consecutive(1, 0));
    append_many(&*journal, 3).await;
    let page = journal.read(everything()).await.expect("reads");
    let ids: Vec<_> = page.notifications.iter().map(|notification| notification.id()).collect();
    assert_eq!(ids, [1, 2, 3].map(|seq| format!("{}-{seq}", journal.epoch())));
    assert_eq!(journal.bounds(), Bounds::of_consecutive(1, 3));
    let names: Vec<_> = page.notifications.iter().map(|notification| &*notification.event.name).collect();
    assert_eq!(names, ["e0", "e1", "e2"]);
}

pub(in crate::journal) async fn a_batch_is_answered_entry_by_entry<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    let journal = open(&options());
    let batch = vec![keyed("a", 1), entry("x", room("r")), keyed("a", 1), keyed("a", 2), entry("y", user("u"))];
    let outcomes = append(&*journal, batch).await;
    let expected = [Fate::Appended(1), Fate::Appended(2), Fate::Duplicate(1), Fate::Conflict, Fate::Appended(3)];
    assert_eq!(outcomes, expected);
    assert!(append(&*journal, Vec::new()).await.is_empty());
}

pub(in crate::journal) async fn overlapping_appends_are_serialised<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    let journal = open(&options());
    let mut commits = journal.commit_stream();
    let many = (0..20).map(|_| append_many(&*journal, 10));
    let (_, seqs) = tokio::join!(join_all(many), next_seqs(&mut commits, 200));
    assert_eq!(seqs, (1..=200).collect::<Vec<_>>());
}

pub(in crate::journal) async fn an_answer_says_which_epoch_its_places_are_of<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    let journal = open(&options());
    for batch in [vec![entry("e", Audience::Everyone)], Vec::new()] {
        assert_eq!(journal.append(batch).await.expect("appends").epoch, journal.epoch());
    }
    let page = journal.read(everything()).await.expect("reads");
    assert_eq!(page.notifications[0].id(), format!("{}-1", journal.epoch()));
}

/// There are more than an engine lets wait at the same time, and of those who could go on the last is always asked first.
pub(in crate::journal) async fn appends_are_kept_in_the_order_in_which_they_were_first_polled<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    const MANY: usize = 300;
    let journal = open(&options());
    let mut commits = journal.commit_stream();
    let mut appends = Vec::new();
    let mut positions = vec![0; MANY];
    for (number, known) in positions.iter_mut().enumerate() {
        let mut append = journal.append(vec![entry("e", Audience::Everyone)]);
        match poll_immediate(&mut append).await {
            Some(answer) => *known = position(&answer.expect("appends").outcomes),
            None => appends.push((number, append)),
        }
    }
    let driving = async {
        while !appends.is_empty() {
            for index in (0..appends.len()).rev() {
                let (number, append) = &mut appends[index];
                if let Some(answer) = poll_immediate(append).await {
                    positions[*number] = position(&answer.expect("appends").outcomes);
                    drop(appends.remove(index));
                }
            }
            yield_now().await;
        }
    };
    let ((), seqs) = tokio::join!(driving, next_seqs(&mut commits, MANY));
    assert_eq!(seqs, (1..=MANY as Seq).collect::<Vec<_>>());
    assert_eq!(positions, seqs);
}

fn position(outcomes: &[Outcome]) -> Seq {
    let [Outcome::Appended(stored)] = outcomes else { panic!("{outcomes:?}") };
    stored.seq
}
