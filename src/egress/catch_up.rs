//! How a subscriber gets what it missed: from the journal, page by page.
//!
//! One act for a resume and for a lag. The order is the law: listen first, then read after the cursor, then drop what
//! both gave. The first and the last are the [`Outbox`](crate::egress::outbox::Outbox)'s; this is the reading.

use std::sync::Arc;

use crate::{
    domain::{Audience, Notification, Position, Seq},
    egress::outbox::Filling,
    journal::{Error, Query, Read},
    wire::text::Recovery,
};

/// How many notifications are read at a time.
const PAGE: usize = 256;

/// Reads the next page of what lies after `cursor`, for `audiences` or for anyone, as frames that `frame` makes.
pub(super) async fn read_on<F>(
    journal: &dyn Read,
    audiences: Option<Vec<Audience>>,
    cursor: Seq,
    max_bytes: usize,
    frame: impl Fn(&Arc<Notification>) -> F,
) -> Result<Filling<F>, Error> {
    let query =
        Query { audiences, after: cursor, before: None, since: None, limit: PAGE, max_bytes, newest_first: false };
    let page = journal.read(query).await?;
    let frames = page.notifications.iter().map(|notification| (notification.seq, frame(notification))).collect();
    Ok(Filling { frames, more: page.more, bounds: page.bounds })
}

/// Where a new subscriber begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    /// Delivery begins after this place.
    pub(super) cursor: Seq,
    /// What is published from now on lies after this place.
    pub(super) live_from: Seq,
    /// How the resume went.
    pub(super) recovery: Recovery,
}

/// Decides where a subscriber begins that already listens, and that was at `since` before, if it says so.
pub(super) async fn start(
    journal: &dyn Read,
    audiences: Vec<Audience>,
    since: Option<&Position>,
) -> Result<Start, Error> {
    let bounds = journal.bounds();
    let anew = |recovery| Start { cursor: bounds.newest, live_from: bounds.newest, recovery };
    let Some(since) = since else { return Ok(anew(Recovery::NotAsked)) };
    let known =
        since.epoch == journal.epoch() && (bounds.oldest..=bounds.newest + 1).contains(&(since.seq.saturating_add(1)));
    if !known {
        return Ok(anew(Recovery::Lost));
    }
    let missed = journal.count(audiences, since.seq, bounds.newest).await?;
    Ok(Start { cursor: since.seq, live_from: bounds.newest, recovery: Recovery::Recovered(missed) })
}
