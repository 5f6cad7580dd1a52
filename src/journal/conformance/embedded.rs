//! What an engine must do besides that belongs to one process: `suite!(open, advance)`. Whoever appends waits for the fan-out, and
//! the only node gets everything.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::future::poll_immediate;
use tokio::task::yield_now;

use super::{append, append_one, chat, entry, next_seqs, options, room};
use crate::{
    domain::{Audience, Delivery, Ephemeral},
    journal::{Journal, Options},
};

macro_rules! suite {
    ($open:ident, $advance:path) => {
        conformance::tests!(
            $open, $advance, embedded:
            appends_and_relays_wait_for_a_slow_tail,
            everything_reaches_the_tails_whoever_attends,
        );
    };
}
pub(in crate::journal) use suite;

/// More than may ever wait in a commit stream.
const TOO_MANY: usize = 10_000;

/// How often others get their turn while an append must not come to its end.
const YIELDS: usize = 1_000;

fn frame() -> Ephemeral {
    Ephemeral::notice(chat("hola"))
}

pub(in crate::journal) async fn appends_and_relays_wait_for_a_slow_tail<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    let journal = open(&options());
    let mut commits = journal.commit_stream();
    let mut waiting = 0;
    while poll_immediate(journal.relay(frame())).await.is_some() {
        waiting += 1;
        assert!(waiting < TOO_MANY, "nobody waits, however much a commit stream holds");
    }
    let mut appending = pin!(append_one(&*journal, entry("e", Audience::Everyone)));
    let mut yields = 0;
    // It is committed, and then waits.
    while yields < YIELDS {
        assert!(poll_immediate(&mut appending).await.is_none(), "the commit stream is full");
        yields += usize::from(journal.bounds().newest == 1 || yields > 0);
        yield_now().await;
    }
    let ((), seqs) = tokio::join!(async { _ = appending.await }, next_seqs(&mut commits, 1));
    assert_eq!(seqs, [1]);
}

pub(in crate::journal) async fn everything_reaches_the_tails_whoever_attends<J: Journal>(
    open: impl Fn(&Options) -> Arc<J>,
    _: impl Fn(Duration),
) {
    let journal = open(&options());
    let mut commits = journal.commit_stream();
    append(&*journal, vec![entry("a", room("a")), entry("b", Audience::Everyone)]).await;
    journal.relay(frame()).await.expect("relays");
    assert_eq!(next_seqs(&mut commits, 2).await, [1, 2]);
    let batch = commits.try_next().expect("it was relayed before");
    assert!(matches!(batch[..], [Delivery::Ephemeral(_)]));
}
