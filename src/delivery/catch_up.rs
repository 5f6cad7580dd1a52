//! How a subscriber gets what it missed: from the journal, page by page.
//!
//! One act for a resume and for a lag. The order is the law: listen first, then read after the cursor, then drop what
//! both gave. The first and the last are the [`Outbox`](crate::delivery::outbox::Outbox)'s; this is the reading.

use std::sync::Arc;

use crate::{
    delivery::{missing::missing, outbox::CatchUpPage},
    domain::{Audience, Interest, Notification, Position, Recovery, Seq},
    journal::{Attend, Attendance, Error, Query, Read},
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
) -> Result<CatchUpPage<F>, Error> {
    let query =
        Query { audiences, after: cursor, before: None, since: None, limit: PAGE, max_bytes, newest_first: false };
    let page = journal.read(query).await?;
    let frames = page.notifications.iter().map(|notification| (notification.seq, frame(notification))).collect();
    Ok(CatchUpPage { frames, more: page.more, bounds: page.bounds, lost: missing(&page, false) })
}

/// Where a new subscriber begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Delivery begins after this `seq`.
    pub cursor: Seq,
    /// What is published from now on lies after this `seq`.
    pub live_from: Seq,
    /// Whether that gives the subscriber what it missed.
    pub recovery: Recovery,
}

/// Attends to what a subscriber listens to already, and that was at `since` before, if it says so.
pub(crate) async fn attend(
    journal: &dyn Attend,
    interests: &[Interest],
    since: Option<&Position>,
) -> Result<Attendance, Error> {
    // Of positions of another epoch there is nothing to wait for.
    let since = since.filter(|since| since.epoch == journal.epoch()).map(|since| since.seq);
    journal.attend(interests, since).await
}

/// Decides where a subscriber begins that attends already, and that was at `since` before, if it says so.
pub(crate) fn start(attendance: &Attendance, since: Option<&Position>) -> Start {
    let bounds = attendance.bounds();
    let live = |recovery| Start { cursor: bounds.newest, live_from: bounds.newest, recovery };
    let Some(since) = since else { return live(Recovery::Fresh) };
    let known = since.epoch == *attendance.epoch()
        && (bounds.oldest..=bounds.newest + 1).contains(&(since.seq.saturating_add(1)));
    if !known {
        return live(Recovery::Unrecoverable);
    }
    Start { cursor: since.seq, live_from: bounds.newest, recovery: Recovery::Resumed }
}

/// Reads the first page of what a subscriber missed that begins at `start`, and says how many it missed in all. Most missed
/// no more than a page, and the journal is asked once.
pub(crate) async fn missed<F>(
    journal: &dyn Read,
    audiences: Vec<Audience>,
    start: &Start,
    max_bytes: usize,
    frame: impl Fn(&Arc<Notification>) -> F,
) -> Result<(u64, CatchUpPage<F>), Error> {
    let page = read_on(journal, Some(audiences.clone()), start.cursor, max_bytes, frame).await?;
    let missed = if page.more {
        journal.count(audiences, start.cursor, start.live_from).await?
    } else {
        page.frames.iter().filter(|(seq, _)| *seq <= start.live_from).count() as u64
    };
    Ok((missed, page))
}
