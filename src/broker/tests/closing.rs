//! How the task ends: with nothing left undone of what has its place, and with no place for anything else.

use std::{pin::pin, task::Poll::Ready};

use super::*;
use crate::worker::Exit;

/// Whether `work`, polled once more, still waits.
async fn waits<T>(work: &mut (impl Future<Output = T> + Unpin)) -> bool {
    std::future::poll_fn(|context| Ready(std::pin::Pin::new(&mut *work).poll(context).is_pending())).await
}

// what is in the full queue is given out; whoever waits for a place, or comes, is told
#[tokio::test(start_paused = true)]
async fn a_full_queue_is_emptied_before_the_end() {
    let scene = Scene::new(|options| options.publish_queue = NonZeroUsize::MIN);
    let hung = scene.hang().await;
    let mut in_hand = fill(&scene).await;
    in_hand.push(scene.broker.submit(vec![draft(None), draft(None)]).await.expect("the only place"));
    let mut late = pin!(scene.broker.submit(vec![draft(None)]));
    assert!(waits(&mut late).await, "there is no place");

    let begin = Instant::now();
    scene.closing.cancel();
    assert!(matches!(late.await, Err(Error::Closing)));
    assert!(matches!(scene.broker.submit(vec![draft(None)]).await, Err(Error::Closing)));
    assert!(begin.elapsed().is_zero(), "they were told at once, though the journal hangs");
    let mut end = pin!(scene.task.clone().ended());
    assert!(waits(&mut end).await, "there is something left to do");

    drop(hung);
    let mut seqs = Vec::new();
    for pending in in_hand {
        seqs.extend(pending.outcomes().await.into_iter().map(|outcome| outcome.expect("it had its place").seq));
    }
    assert_eq!(seqs, (1..=task::MAX_IN_FLIGHT as u64 + 2).collect::<Vec<_>>());
    assert_eq!(end.await, Exit::Ended);
}

// what is not to be kept is given out, too
#[tokio::test(start_paused = true)]
async fn what_is_not_kept_is_relayed_before_the_end() {
    let scene = Scene::new(|_| {});
    let mut commits = scene.journal.memory.commit_stream();
    let still = scene.journal.air.lock().await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(scene.broker.submit(vec![passing()]).await.expect("a place"));
    }
    scene.closing.cancel();
    drop(still);
    for pending in waiting {
        assert!(matches!(pending.outcomes().await[..], [Ok(Accepted { seq: 0, .. })]));
        commits.next().await.expect("it goes out");
    }
    assert!(matches!(scene.broker.submit(vec![passing()]).await, Err(Error::Closing)));
    assert_eq!(scene.task.ended().await, Exit::Ended);
}

// without anybody who could submit something, the task ends as soon as it has done what there is
#[tokio::test(start_paused = true)]
async fn the_last_handle_ends_the_task() {
    let Scene { journal, broker, task, .. } = Scene::new(|_| {});
    let hung = journal.disk.lock().await;
    let pending = broker.submit(vec![draft(None)]).await.expect("a place");
    drop(broker);
    let mut end = pin!(task.ended());
    // There is nothing behind what the journal has in hand: the task waits for that alone.
    while journal.came() == 0 {
        yield_now().await;
    }
    assert!(waits(&mut end).await, "there is something left to do");
    drop(hung);
    assert!(matches!(pending.outcomes().await[..], [Ok(Accepted { seq: 1, .. })]));
    assert_eq!(end.await, Exit::Ended);
}
