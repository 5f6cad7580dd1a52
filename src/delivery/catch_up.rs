//! How a subscriber gets what it missed: from the journal, page by page.
//!
//! One act for a resume and for a lag. The order is the law: listen first, then read after the cursor, then drop what
//! both gave. The first and the last are the [`Outbox`](crate::delivery::outbox::Outbox)'s; this is the reading.

use std::sync::Arc;

use crate::{
    delivery::{missing::missing, outbox::Filling},
    domain::{Audience, Notification, Position, Seq},
    journal::{Error, Query, Read},
};

/// How many notifications are read at a time.
const PAGE: usize = 256;

/// Reads the next page of what lies after `cursor`, for `audiences` or for anyone, as frames that `frame` makes.
pub(crate) async fn read_on<F>(
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
    Ok(Filling { frames, more: page.more, bounds: page.bounds, lost: missing(&page, false) })
}

/// Where a new subscriber begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Start {
    /// Delivery begins after this place.
    pub(crate) cursor: Seq,
    /// What is published from now on lies after this place.
    pub(crate) live_from: Seq,
    pub(crate) how: How,
}

/// How a new subscriber begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// With what is published from now on.
    Anew,
    /// The same, for the journal does not have what came after the place where it was.
    Lost,
    /// With what it missed.
    Resumed,
}

/// Decides where a subscriber begins that already listens, and that was at `since` before, if it says so.
pub(crate) fn start(journal: &dyn Read, since: Option<&Position>) -> Start {
    let bounds = journal.bounds();
    let anew = |how| Start { cursor: bounds.newest, live_from: bounds.newest, how };
    let Some(since) = since else { return anew(How::Anew) };
    let known =
        since.epoch == journal.epoch() && (bounds.oldest..=bounds.newest + 1).contains(&(since.seq.saturating_add(1)));
    if !known {
        return anew(How::Lost);
    }
    Start { cursor: since.seq, live_from: bounds.newest, how: How::Resumed }
}

/// Reads the first page of what a subscriber missed that begins at `start`, and says how many it missed in all. Most missed
/// no more than a page, and the journal is asked once.
pub(crate) async fn missed<F>(
    journal: &dyn Read,
    audiences: Vec<Audience>,
    start: &Start,
    max_bytes: usize,
    frame: impl Fn(&Arc<Notification>) -> F,
) -> Result<(u64, Filling<F>), Error> {
    let filling = read_on(journal, Some(audiences.clone()), start.cursor, max_bytes, frame).await?;
    let missed = if filling.more {
        journal.count(audiences, start.cursor, start.live_from).await?
    } else {
        filling.frames.iter().filter(|(seq, _)| *seq <= start.live_from).count() as u64
    };
    Ok((missed, filling))
}
