//! In which batches what waits is kept, in which order it is answered, and what an append that fails takes with it.

use super::*;

/// Drafts that are to be kept.
fn drafts(count: usize) -> Vec<Draft> {
    vec![draft(None); count]
}

/// Submits so many drafts together.
async fn submit(scene: &Scene, count: usize) -> Pending {
    scene.broker.submit(drafts(count)).await.expect("a place")
}

/// The places that were given.
async fn seqs(pending: Pending) -> Vec<u64> {
    pending.outcomes().await.into_iter().map(|outcome| outcome.expect("kept").seq).collect()
}

/// Submits so many drafts, and waits until the journal has them in hand.
async fn submit_by_itself(scene: &Scene, count: usize) -> Pending {
    let before = scene.journal.came();
    let pending = submit(scene, count).await;
    while scene.journal.came() == before {
        yield_now().await;
    }
    pending
}

// what waits while as many commits hang as there may be is kept together, in its order
#[tokio::test(start_paused = true)]
async fn what_waits_is_one_batch() {
    let scene = Scene::new(|_| {});
    let hung = scene.hang().await;
    let first = fill(&scene).await;
    let (two, five, one) = (submit(&scene, 2).await, submit(&scene, 5).await, submit(&scene, 1).await);
    drop(hung);
    for (number, pending) in (1..).zip(first) {
        assert_eq!(seqs(pending).await, [number]);
    }
    assert_eq!([seqs(two).await, seqs(five).await, seqs(one).await].concat(), (17..=24).collect::<Vec<_>>());
    assert_eq!(*scene.journal.came.lock(), [vec![1; task::MAX_IN_FLIGHT], vec![8]].concat());
}

// a batch has its bound, which only the last submission in it may go beyond
#[tokio::test(start_paused = true)]
async fn what_is_too_much_for_a_batch_makes_the_next() {
    let scene = Scene::new(|_| {});
    let hung = scene.hang().await;
    let _first = fill(&scene).await;
    let mut waiting = Vec::new();
    for count in [vec![2; 256], vec![500, 100], vec![3]].concat() {
        waiting.push(submit(&scene, count).await);
    }
    drop(hung);
    let mut kept = Vec::new();
    for pending in waiting {
        kept.extend(seqs(pending).await);
    }
    assert_eq!(kept, (17..17 + 512 + 600 + 3).collect::<Vec<_>>());
    assert_eq!(scene.journal.came.lock()[task::MAX_IN_FLIGHT..], [512, 600, 3]);
}

// batches that are on their way at the same time are kept in the order in which they were taken
#[tokio::test(start_paused = true)]
async fn order_is_kept_while_commits_are_under_way() {
    let scene = Scene::new(|_| {});
    let mut commits = scene.journal.memory.commit_stream();
    let hung = scene.hang().await;
    // Each fills a batch, so that none waits for the journal before it.
    let sizes: Vec<_> = (0..task::MAX_IN_FLIGHT).map(|number| 512 + number).collect();
    let mut waiting = Vec::new();
    for size in &sizes {
        waiting.push(submit(&scene, *size).await);
    }
    while scene.journal.came() < sizes.len() {
        yield_now().await;
    }
    assert_eq!(*scene.journal.came.lock(), sizes, "all of them are under way");
    drop(hung);
    let (mut kept, mut told) = (Vec::new(), 0);
    for pending in waiting {
        kept.extend(seqs(pending).await);
    }
    assert_eq!(kept, (1..=kept.len() as u64).collect::<Vec<_>>());
    while told < kept.len() {
        for delivery in commits.next().await.expect("it is on its way").iter() {
            let crate::domain::Delivery::Notification(committed) = delivery else { panic!("{delivery:?}") };
            told += 1;
            assert_eq!(committed.notification.seq, told as u64);
        }
    }
}

// what one publisher sends on without waiting stays in its order, however it is divided
#[tokio::test(start_paused = true)]
async fn whoever_sends_on_is_not_overtaken_by_itself() {
    let scene = Scene::new(|_| {});
    let (mut waiting, mut kept) = (Vec::new(), Vec::new());
    for number in 0..1_000 {
        waiting.push(submit(&scene, 1 + number % 4).await);
    }
    for pending in waiting {
        kept.extend(seqs(pending).await);
    }
    assert_eq!(kept, (1..=2_500).collect::<Vec<_>>());
}

// each queue has its own places: of neither does it take any that the other is full
#[tokio::test(start_paused = true)]
async fn a_full_queue_is_not_in_the_way_of_the_other() {
    let scene = Scene::new(|options| options.publish_queue = NonZeroUsize::MIN);
    let hung = scene.hang().await;
    let _waiting = (fill(&scene).await, submit(&scene, 1).await);
    let begin = Instant::now();
    assert_eq!(scene.broker.publish(passing()).await.expect("it is relayed").seq, 0);
    assert!(begin.elapsed().is_zero(), "it waited for nobody");
    assert!(matches!(scene.broker.publish(draft(None)).await, Err(Error::Full)));

    drop(hung);
    scene.until_kept(task::MAX_IN_FLIGHT as u64 + 1).await;
    let _still = scene.journal.air.lock().await;
    let relayed = scene.journal.relaying.load(Ordering::Relaxed);
    let _in_hand = scene.broker.submit(vec![passing()]).await.expect("a place");
    while scene.journal.relaying.load(Ordering::Relaxed) == relayed {
        yield_now().await;
    }
    let _behind = scene.broker.submit(vec![passing()]).await.expect("the only place");
    let begin = Instant::now();
    scene.broker.publish(draft(None)).await.expect("it is kept");
    assert!(begin.elapsed().is_zero(), "it waited for nobody");
    assert!(matches!(scene.broker.publish(passing()).await, Err(Error::Full)));
}

// an append that fails is told to all whose drafts were in it, and to nobody else
#[tokio::test(start_paused = true)]
async fn an_append_that_fails_takes_nothing_else_with_it() {
    let scene = Scene::new(|_| {});
    let hung = scene.hang().await;
    let failed = submit_by_itself(&scene, 2).await;
    let kept = submit_by_itself(&scene, 1).await;
    scene.journal.failing.store(1, Ordering::Relaxed);
    drop(hung);
    let outcomes = failed.outcomes().await;
    let [Err(Error::Journal(first)), Err(Error::Journal(second))] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert!(Arc::ptr_eq(first, second) && matches!(**first, journal::Error::Full), "{first:?}");
    assert_eq!(seqs(kept).await, [1], "nothing of the first is kept");
    assert_eq!(scene.broker.bytes.available_permits(), scene.broker.max_bytes);
}

/// A draft that rules make a room of whose name is too long.
fn unroutable(durability: Option<Durability>) -> Draft {
    let payload = format!(r#"{{"temaId":"{}"}}"#, "x".repeat(200));
    let payload = Payload::parse(payload.into()).expect("an object");
    Draft::new(DraftFields { payload, durability, ..fields() }).expect("a draft")
}

// of what was submitted together, each draft has an outcome of its own, also when the journal fails
#[tokio::test(start_paused = true)]
async fn what_the_journal_did_not_fail_has_its_own_outcome() {
    let scene = Scene::new(|_| {});
    scene.journal.failing.store(1, Ordering::Relaxed);
    let together = vec![draft(None), unroutable(None), passing(), draft(None), unroutable(Some(Durability::Ephemeral))];
    let outcomes = scene.broker.submit(together.clone()).await.expect("a place").outcomes().await;
    let [
        Err(Error::Journal(_)),
        Err(Error::Route(_)),
        Ok(Accepted { seq: 0, .. }),
        Err(Error::Journal(_)),
        Err(Error::Route(_)),
    ] = &outcomes[..]
    else {
        panic!("{outcomes:?}")
    };
    let outcomes = scene.broker.submit(together).await.expect("a place").outcomes().await;
    let seqs: Vec<_> = outcomes.into_iter().flatten().map(|accepted| accepted.seq).collect();
    assert_eq!(seqs, [1, 0, 2]);
    assert_eq!(*scene.journal.came.lock(), [2, 2], "what is refused is not on its way to the journal");
}
