//! A stream that waits for a journal whose disk hangs.

use std::{future::pending, pin::pin, sync::Arc};

use async_trait::async_trait;
use futures_util::future::poll_immediate;

use super::Scene;
use crate::{
    delivery::StreamEnd,
    domain::{Audience, Epoch, Seq},
    journal::{Bounds, Error, Incarnation, Memory, Page, Query, Read},
};

/// A journal on a disk that never answers.
#[derive(Debug)]
struct Hung(Arc<Memory>);

impl Incarnation for Hung {
    fn epoch(&self) -> Epoch {
        self.0.epoch()
    }
}

#[async_trait]
impl Read for Hung {
    fn bounds(&self) -> Bounds {
        self.0.bounds()
    }

    async fn read(&self, _: Query) -> Result<Page, Error> {
        pending().await
    }

    async fn count(&self, audiences: Vec<Audience>, after: Seq, until: Seq) -> Result<u64, Error> {
        self.0.count(audiences, after, until).await
    }
}

#[tokio::test]
async fn a_stream_that_is_ended_while_the_journal_reads_says_so_at_once() {
    let mut scene = Scene::new(100, 1_000);
    scene.publish("r", &["a"]).await;
    scene.source.journal = Arc::new(Hung(Arc::clone(&scene.journal)));
    let (mut stream, _) = scene.subscribe(Some(0)).await;
    let subscriber = Arc::clone(stream.0.subscriber());
    let mut next = pin!(stream.try_next(|_| Ok(())));
    assert!(poll_immediate(next.as_mut()).await.is_none(), "the journal reads");
    subscriber.end("enough");
    let end = next.await;
    assert!(matches!(end, Err(StreamEnd::Because("enough"))), "{end:?}");
}
