//! What an engine must do whose store several nodes share: `suite!(new)` makes the tests, and `new` gives an empty [`Store`], of which
//! each test opens two handles. What one of them promises alone is in the other suites.

mod memory;
mod state;

use std::{ops::RangeInclusive, sync::Arc};

use async_trait::async_trait;
use futures_util::future::join_all;

use super::{Fate, append, append_one, chat, entry, everything, keyed, next_seqs, read, room, user};
use crate::{
    domain::{Audience, Audiences, Break, Delivery, Ephemeral, Interest, Publication, Seq},
    journal::{Append, Attend, CommitStream, Follow, Incarnation, Journal, Query, Read, Relay},
};

/// A store that several nodes share, and what can happen to it.
#[async_trait]
trait Store {
    /// What a node has of it.
    type Handle: Journal;

    /// Another node.
    fn open(&self) -> Arc<Self::Handle>;

    /// The answer to the next append is lost on its way, so that its node sends it again.
    fn lose_an_answer(&self);

    /// The store is another server's from now on, to which the newest so many had not come yet. The nodes know of them.
    async fn fail_over(&self, lost: usize);

    /// The store is empty again.
    async fn wipe(&self);
}

macro_rules! suite {
    ($new:path) => {
        shared::suite!(
            $new,
            there_is_one_order_over_both,
            a_tail_gets_only_what_is_attended_to,
            relayed_frames_reach_the_nodes_that_attend_to_them,
            what_is_appended_behind_the_answer_is_delivered_and_before_it_can_be_read,
            attending_and_appending_at_the_same_time_misses_nothing,
            a_key_that_was_used_on_one_is_known_on_the_other,
            an_append_that_is_sent_again_is_appended_once,
            another_run_never_gives_a_place_again,
            lost_ranges_reach_both,
            another_epoch_breaks_both,
        );
    };
    ($new:path, $($promise:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $promise() {
                shared::$promise(&$new()).await;
            }
        )+
    };
}
use suite;

fn both<S: Store>(store: &S) -> [Arc<S::Handle>; 2] {
    [store.open(), store.open()]
}

fn listening(audience: Audience) -> [Interest; 1] {
    [Interest::In(audience)]
}

/// What waits in a commit stream of which nothing more is to come.
fn waiting(commits: &mut CommitStream) -> Vec<Seq> {
    let mut seqs = Vec::new();
    while let Some(batch) = commits.try_next() {
        for delivery in &*batch {
            let Delivery::Notification(Publication { notification, .. }) = delivery else { panic!("{delivery:?}") };
            seqs.push(notification.seq);
        }
    }
    seqs
}

async fn next_break(commits: &mut CommitStream) -> Break {
    loop {
        for delivery in &*commits.next().await.expect("the journal lives") {
            if let Delivery::Break(interruption) = delivery {
                return interruption.clone();
            }
        }
    }
}

async fn there_is_one_order_over_both(store: &impl Store) {
    let nodes = both(store);
    let mut streams = nodes.each_ref().map(|node| node.commit_stream());
    let attendances = nodes.each_ref().map(async |node| node.attend(&[Interest::Everything], None).await);
    let _held = join_all(attendances).await;
    let appends = (0..40).map(|number| append_one(&*nodes[number % 2], entry("e", room("r"))));
    let fates = join_all(appends).await;
    let mut positions: Vec<_> = fates
        .iter()
        .map(|fate| match fate {
            Fate::Appended(seq) => *seq,
            other => panic!("{other:?}"),
        })
        .collect();
    positions.sort_unstable();
    assert_eq!(positions, (1..=40).collect::<Vec<_>>());
    for (node, commits) in nodes.iter().zip(&mut streams) {
        assert_eq!(next_seqs(commits, 40).await, positions);
        assert_eq!(read(&**node, everything()).await, positions);
        assert_eq!((node.bounds().newest, node.bounds().appended), (40, 40));
    }
}

async fn a_tail_gets_only_what_is_attended_to(store: &impl Store) {
    let nodes = both(store);
    let mut streams = nodes.each_ref().map(|node| node.commit_stream());
    let mut first = nodes[0].attend(&listening(room("r")), None).await.expect("attends");
    let second = nodes[1].attend(&listening(user("u")), None).await.expect("attends");
    let for_both = Audiences::from_target(false, &["u".to_owned()], &["r".to_owned()]).expect("a target");
    let batch = vec![entry("1", room("r")), entry("2", user("u")), entry("3", for_both), entry("4", room("x"))];
    append(&*nodes[1], batch).await;
    first.add(Interest::In(room("x"))).await.expect("attends");
    append(&*nodes[0], vec![entry("5", room("x")), entry("6", Audience::Everyone)]).await;
    first.remove(&Interest::In(room("x")));
    drop(second);
    append(&*nodes[1], vec![entry("7", room("r")), entry("8", user("u"))]).await;
    assert_eq!(next_seqs(&mut streams[0], 4).await, [1, 3, 5, 7]);
    assert_eq!(next_seqs(&mut streams[1], 2).await, [2, 3]);
    for commits in &mut streams {
        // A node may go on getting for a while what nobody there listens to any more; nothing else.
        assert!(waiting(commits).iter().all(|seq| [5, 8].contains(seq)));
    }
}

async fn relayed_frames_reach_the_nodes_that_attend_to_them(store: &impl Store) {
    let nodes = both(store);
    let mut streams = nodes.each_ref().map(|node| node.commit_stream());
    let _first = nodes[0].attend(&listening(room("r")), None).await.expect("attends");
    let second = nodes[1].attend(&listening(room("r")), None).await.expect("attends");
    nodes[1].relay(Ephemeral::notice(chat("hola"))).await.expect("relays");
    for commits in &mut streams {
        let batch = commits.next().await.expect("the journal lives");
        assert!(matches!(batch[..], [Delivery::Ephemeral(_)]));
    }
    drop(second);
    assert_eq!(nodes[0].bounds().newest, 0, "it is not kept");
}

async fn what_is_appended_behind_the_answer_is_delivered_and_before_it_can_be_read(store: &impl Store) {
    let [listener, publisher] = both(store);
    let mut commits = listener.commit_stream();
    append_one(&*publisher, entry("1", room("r"))).await;
    let attendance = listener.attend(&listening(room("r")), Some(1)).await.expect("attends");
    append_one(&*publisher, entry("2", room("r"))).await;
    assert_eq!((attendance.epoch(), attendance.bounds().newest), (&publisher.epoch(), 1));
    assert_eq!(next_seqs(&mut commits, 1).await, [2]);
    assert_eq!(read(&*listener, Query { before: Some(2), ..everything() }).await, [1]);
}

async fn attending_and_appending_at_the_same_time_misses_nothing(store: &impl Store) {
    const MANY: usize = 20;
    let [listener, publisher] = both(store);
    let mut due: Seq = 0;
    for before in 0..MANY {
        // A node of its own, so that nobody attends there yet.
        let listener = if before == 0 { Arc::clone(&listener) } else { store.open() };
        let mut commits = listener.commit_stream();
        let appending = async {
            for _ in 0..MANY {
                append_one(&*publisher, entry("e", room("r"))).await;
                tokio::task::yield_now().await;
            }
        };
        let attending = async {
            for _ in 0..before {
                tokio::task::yield_now().await;
            }
            listener.attend(&listening(room("r")), None).await.expect("attends")
        };
        let ((), attendance) = tokio::join!(appending, attending);
        due += MANY as Seq;
        let known = attendance.bounds().newest;
        let mut got = read(&*listener, Query { before: Some(known + 1), ..everything() }).await;
        got.extend(next_seqs(&mut commits, (due - known) as usize).await);
        assert_eq!(got, (1..=due).collect::<Vec<_>>());
    }
}

async fn a_key_that_was_used_on_one_is_known_on_the_other(store: &impl Store) {
    let [first, second] = both(store);
    let appended = first.append(vec![keyed("k", 1)]).await.expect("appends");
    assert_eq!(append(&*second, vec![keyed("k", 1), keyed("k", 2)]).await, [Fate::Duplicate(1), Fate::Conflict]);
    let retried = second.append(vec![keyed("k", 1)]).await.expect("appends");
    assert_eq!(retried.epoch, appended.epoch);
    assert_eq!(second.bounds().newest, 1);
}

async fn an_append_that_is_sent_again_is_appended_once(store: &impl Store) {
    let [first, second] = both(store);
    let mut commits = second.commit_stream();
    let _held = second.attend(&[Interest::Everything], None).await.expect("attends");
    store.lose_an_answer();
    assert_eq!(
        append(&*first, vec![entry("a", room("r")), keyed("k", 1)]).await,
        [Fate::Appended(1), Fate::Appended(2)]
    );
    append_one(&*first, entry("b", room("r"))).await;
    assert_eq!(next_seqs(&mut commits, 3).await, [1, 2, 3]);
    assert_eq!(read(&*second, everything()).await, [1, 2, 3]);
}

async fn another_run_never_gives_a_place_again(store: &impl Store) {
    let [first, second] = both(store);
    let epoch = first.epoch();
    let mut given: Vec<Seq> = Vec::new();
    for _ in 0..3 {
        for node in [&first, &second] {
            let Fate::Appended(seq) = append_one(&**node, entry("e", room("r"))).await else { panic!("not appended") };
            assert!(given.iter().all(|before| *before < seq), "{seq} after {given:?}");
            given.push(seq);
        }
        store.fail_over(1).await;
    }
    assert_eq!(first.epoch(), epoch, "most of it is still there");
    let kept: Vec<_> = given.iter().step_by(2).copied().collect();
    assert_eq!(read(&*second, everything()).await, kept);
    assert_eq!(second.bounds().appended, kept.len() as u64);
}

async fn lost_ranges_reach_both(store: &impl Store) {
    let nodes = both(store);
    let mut streams = nodes.each_ref().map(|node| node.commit_stream());
    append(&*nodes[0], (0..5).map(|_| entry("e", room("r"))).collect()).await;
    store.fail_over(2).await;
    let Fate::Appended(next) = append_one(&*nodes[1], entry("e", room("r"))).await else { panic!("not appended") };
    assert!(next > 5);
    for (node, commits) in nodes.iter().zip(&mut streams) {
        assert_eq!(next_break(commits).await, Break::Lost(4..=5));
        let page = node.read(everything()).await.expect("reads");
        let expected: Vec<RangeInclusive<Seq>> = vec![4..=5];
        assert_eq!(page.lost, expected, "whoever reads is told, too");
        assert_eq!(page.notifications.iter().map(|kept| kept.seq).collect::<Vec<_>>(), [1, 2, 3, next]);
    }
}

async fn another_epoch_breaks_both(store: &impl Store) {
    let nodes = both(store);
    let mut streams = nodes.each_ref().map(|node| node.commit_stream());
    append_one(&*nodes[0], keyed("k", 1)).await;
    let before = nodes[0].epoch();
    store.wipe().await;
    for (node, commits) in nodes.iter().zip(&mut streams) {
        assert_eq!(next_break(commits).await, Break::Anew);
        assert_ne!(node.epoch(), before);
    }
    let answer = nodes[1].append(vec![keyed("k", 2)]).await.expect("appends");
    assert_eq!(answer.epoch, nodes[0].epoch());
    assert_eq!(read(&*nodes[0], everything()).await.len(), 1);
    assert_eq!(nodes[0].bounds().appended, 1);
}

use super::shared;
