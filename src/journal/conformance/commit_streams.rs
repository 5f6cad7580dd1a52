//! What every engine must do for those who follow it.

use std::{sync::Arc, time::Duration};

use super::{append, append_many, chat, entry, keyed, next_seqs, options, room, user};
use crate::{
    domain::{ClientId, Content, Delivery, Ephemeral, Interest, Seq},
    journal::{Bounds, Journal, Options},
};

pub(in crate::journal) async fn tails_get_everything_once_and_in_order<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    let journal = open(&options());
    append_many(&*journal, 1).await;
    let mut streams = [journal.commit_stream(), journal.commit_stream()];
    let batch = vec![entry("a", room("r")), keyed("k", 1), keyed("k", 1), entry("b", user("u"))];
    append(&*journal, batch).await;
    append_many(&*journal, 1).await;
    for commits in &mut streams {
        assert_eq!(next_seqs(commits, 4).await, [2, 3, 4, 5]);
        assert!(commits.try_next().is_none());
    }
}

pub(in crate::journal) async fn a_slow_tail_loses_nothing<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    const MANY: usize = 500;
    let journal = open(&options());
    let mut commits = journal.commit_stream();
    let ((), seqs) = tokio::join!(append_many(&*journal, MANY), next_seqs(&mut commits, MANY));
    assert_eq!(seqs, (1..=MANY as Seq).collect::<Vec<_>>());
}

pub(in crate::journal) async fn relayed_frames_reach_every_tail_and_are_not_kept<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    let journal = open(&options());
    let mut streams = [journal.commit_stream(), journal.commit_stream()];
    for text in ["one", "two"] {
        journal.relay(Ephemeral::notice(chat(text))).await.expect("relays");
    }
    for commits in &mut streams {
        let mut frames = Vec::new();
        while frames.len() < 2 {
            for delivery in commits.next().await.expect("the journal lives").iter() {
                let Delivery::Ephemeral(frame) = delivery else { panic!("not a relayed frame") };
                assert_eq!(frame.audiences, room("r").into());
                assert_eq!(frame.except.as_ref().map(ClientId::as_str), Some("me"));
                let Content::Notice(notice) = &frame.content else { panic!("not a notice") };
                frames.push(notice.clone());
            }
        }
        assert_eq!(frames, ["one", "two"].map(chat));
    }
    assert_eq!(journal.bounds(), Bounds::of_consecutive(1, 0));
}

pub(in crate::journal) async fn an_unread_tail_that_is_dropped_holds_nobody_up<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    let journal = open(&options());
    drop(journal.commit_stream());
    append_many(&*journal, 500).await;
    assert_eq!(journal.bounds().newest, 500);
}

pub(in crate::journal) async fn tails_that_are_ended_give_what_was_committed_first<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    let journal = open(&options());
    let mut commits = journal.commit_stream();
    append_many(&*journal, 3).await;
    journal.end_commit_streams();
    append_many(&*journal, 1).await;
    assert_eq!(next_seqs(&mut commits, 3).await, [1, 2, 3]);
    assert!(commits.next().await.is_none());
}

/// What is appended while somebody attends comes behind the answered bounds, and by the commit stream.
pub(in crate::journal) async fn what_is_attended_to_is_delivered_or_can_be_read<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    let journal = open(&options());
    append_many(&*journal, 3).await;
    let mut commits = journal.commit_stream();
    let mut attendance =
        journal.attend(&[Interest::In(room("r")), Interest::In(user("u"))], Some(2)).await.expect("attends");
    assert_eq!((attendance.epoch(), attendance.bounds()), (&journal.epoch(), Bounds::of_consecutive(1, 3)));
    append(&*journal, vec![entry("a", room("r"))]).await;
    assert_eq!(next_seqs(&mut commits, 1).await, [4]);
    attendance.add(Interest::In(room("later"))).await.expect("attends");
    attendance.remove(&Interest::In(room("r")));
    append(&*journal, vec![entry("b", room("later")), entry("c", user("u"))]).await;
    assert_eq!(next_seqs(&mut commits, 2).await, [5, 6]);
    let others = journal.attend(&[Interest::Everything], None).await.expect("attends");
    drop(attendance);
    append(&*journal, vec![entry("d", room("whatever"))]).await;
    assert_eq!((next_seqs(&mut commits, 1).await, others.bounds().newest), (vec![7], 6));
}
