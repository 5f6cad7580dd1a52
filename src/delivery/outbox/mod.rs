//! The law of delivery for one subscriber, as a pure state machine: each notification once, in order, or a stated gap.
//!
//! The outbox is told of every notification for its subscriber, in `seq` order, and queues the frames that can go out.
//! While it is [`Live`](Mode::Live), what is offered is queued. When the queue is full, the outbox falls
//! [`Behind`](Mode::Behind): from then on it only notes how far the offers went, and whoever owns it reads the journal
//! after the [`cursor`](Outbox::cursor) and [`fill`](Outbox::fill)s the outbox page by page, until it has caught up
//! with the offers. A resume is the same act with an older cursor: the outbox is opened behind.
//!
//! What nobody keeps cannot be read later. Where it does not fit it is dropped, and told as dropped.

mod interruption;

use std::{collections::VecDeque, iter::Peekable, mem, ops::RangeInclusive};

use crate::{domain::Seq, journal::Bounds};

/// A queue that was emptied keeps room for this many frames; the rest of its memory goes.
const KEPT_CAPACITY: usize = 4;

/// What a queue holds: something with a size.
pub trait Frame {
    /// How much of the queue it takes, in bytes.
    fn size(&self) -> usize;
}

/// What waits for a subscriber, and how far it has come.
#[derive(Debug)]
pub(crate) struct Outbox<F> {
    queue: VecDeque<F>,
    queued_bytes: usize,
    max_bytes: usize,
    /// The last notification that was queued, or that lies before all that is to be delivered.
    cursor: Seq,
    /// The newest notification that was offered and not queued.
    noted: Seq,
    mode: Mode,
    /// What was read, or is being read, does not tell of all that is lost: it is read again.
    stale: bool,
    /// The position after which delivery began.
    began: Seq,
    /// How many frames that nobody keeps did not fit, of which the subscriber was not told yet.
    dropped: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The subscriber does not listen yet; offers are noted.
    Opening,
    /// What lies after the cursor is in the journal; offers are noted.
    Behind,
    /// Everything up to the cursor was queued; offers are queued.
    Live,
    /// Nothing is taken in any more: what comes is of another journal.
    Over,
}

/// A part of the journal that an outbox is filled with.
#[derive(Debug)]
pub(crate) struct CatchUpPage<F> {
    /// The frames with their positions, all after the cursor, in order.
    pub(crate) frames: Vec<(Seq, F)>,
    /// The journal has more after the last one.
    pub(crate) more: bool,
    /// What the journal held when it was read.
    pub(crate) bounds: Bounds,
    /// What of this part cannot be read, in the order of the positions.
    pub(crate) lost: Vec<RangeInclusive<Seq>>,
}

/// A frame that nobody keeps did not fit, and was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

impl<F: Frame> Outbox<F> {
    /// An outbox whose subscriber does not listen yet.
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            queued_bytes: 0,
            max_bytes,
            cursor: 0,
            noted: 0,
            mode: Mode::Opening,
            stale: false,
            began: 0,
            dropped: 0,
        }
    }

    /// Begins delivery after `cursor`, with the frame that tells the subscriber so.
    pub(crate) fn open(&mut self, cursor: Seq, first: Option<F>) {
        if self.mode == Mode::Over {
            return;
        }
        (self.cursor, self.began) = (cursor, cursor);
        self.mode = if self.noted > cursor { Mode::Behind } else { Mode::Live };
        first.into_iter().for_each(|frame| self.push(frame));
    }

    /// Begins delivery after `cursor`, where the journal may already hold more than the offers told.
    pub(crate) fn open_behind(&mut self, cursor: Seq, first: Option<F>) {
        self.open(cursor, first);
        if self.mode != Mode::Over {
            self.mode = Mode::Behind;
        }
    }

    /// The last notification that was queued.
    pub(crate) fn cursor(&self) -> Seq {
        self.cursor
    }

    /// Whether the journal must be read before anything live goes out.
    pub(crate) fn is_behind(&self) -> bool {
        self.mode == Mode::Behind
    }

    /// Whether the subscriber listens.
    pub(crate) fn is_listening(&self) -> bool {
        self.mode != Mode::Opening
    }

    /// Whether all that the subscriber will get was queued, and its journal is over.
    pub(crate) fn is_over(&self) -> bool {
        self.mode == Mode::Over
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether the queue takes no more of what can wait elsewhere.
    pub(crate) fn is_full(&self) -> bool {
        self.queued_bytes >= self.max_bytes
    }

    /// How many frames that nobody keeps were dropped and not told yet.
    pub(crate) fn dropped(&self) -> u32 {
        self.dropped
    }

    /// Takes in a live notification.
    pub(crate) fn offer(&mut self, seq: Seq, frame: impl FnOnce() -> F) {
        if seq <= self.cursor && self.mode != Mode::Opening {
            return;
        }
        if self.mode == Mode::Live && !self.is_full() {
            self.cursor = seq;
            self.push(frame());
            return;
        }
        self.noted = self.noted.max(seq);
        if self.mode == Mode::Live {
            // Whatever lies between was for others, or it would have been offered and queued.
            self.cursor = seq - 1;
            self.mode = Mode::Behind;
        }
    }

    /// Takes in a frame that nobody keeps. One that does not fit is dropped and counted; so is all that comes behind it until the
    /// subscriber [is told](Self::tell_dropped). One that comes before the subscriber listens is not for it.
    pub(crate) fn offer_ephemeral(&mut self, frame: F) -> Result<(), Full> {
        if matches!(self.mode, Mode::Opening | Mode::Over) {
            return Ok(());
        }
        if self.is_full() || self.dropped > 0 {
            self.dropped = self.dropped.saturating_add(1);
            return Err(Full);
        }
        self.push(frame);
        Ok(())
    }

    /// Queues what `notice` makes of the number of frames that were dropped, if there were any, as soon as there is room: it has
    /// its place where they are missing.
    pub(crate) fn tell_dropped(&mut self, notice: impl FnOnce(u32) -> F) {
        if self.dropped > 0 && !self.is_full() {
            self.tell_dropped_now(notice);
        }
    }

    /// Tells what was dropped, full or not, for a subscriber to whom nothing more will be told.
    pub(crate) fn tell_dropped_now(&mut self, notice: impl FnOnce(u32) -> F) {
        if self.dropped > 0 {
            let dropped = mem::take(&mut self.dropped);
            self.push(notice(dropped));
        }
    }

    /// Queues an answer to the subscriber itself, full or not: whoever owns the outbox asks it nothing while it is full.
    pub(crate) fn push(&mut self, frame: F) {
        self.queued_bytes += frame.size();
        self.queue.push_back(frame);
    }

    /// Queues what the journal holds after the cursor. `gap` makes the frame that states what is gone or cannot be read, from
    /// and to; it has its place among the others.
    pub(crate) fn fill(&mut self, page: CatchUpPage<F>, gap: impl Fn(Seq, Seq) -> F) {
        if mem::take(&mut self.stale) || self.mode == Mode::Over {
            return;
        }
        let bounds = page.bounds;
        // Retention and damage are the same to the subscriber: where they touch they are told as one.
        let gone = 0..=bounds.oldest.saturating_sub(1);
        let mut missing = [gone].into_iter().chain(page.lost).peekable();
        for (seq, frame) in page.frames {
            self.state(&mut missing, seq, bounds.newest, &gap);
            if seq > self.cursor {
                self.cursor = seq;
                self.push(frame);
            }
        }
        self.state(&mut missing, Seq::MAX, bounds.newest, &gap);
        if !page.more {
            // The rest of what the journal held is for others.
            self.cursor = self.cursor.max(bounds.newest);
            if self.noted <= self.cursor {
                self.mode = Mode::Live;
            }
        }
    }

    /// States what is missing and begins before `next`, as far as the subscriber was not told yet. Nothing after `newest` is
    /// missing: it was not there when the journal was read.
    fn state<R>(&mut self, missing: &mut Peekable<R>, next: Seq, newest: Seq, gap: impl Fn(Seq, Seq) -> F)
    where
        R: Iterator<Item = RangeInclusive<Seq>>,
    {
        while let Some(range) = missing.next_if(|range| *range.start() < next) {
            let mut to = *range.end();
            while let Some(further) = missing.next_if(|further| *further.start() <= to.saturating_add(1)) {
                to = to.max(*further.end());
            }
            let (from, to) = (self.cursor.max(range.start().saturating_sub(1)) + 1, to.min(newest));
            if from <= to {
                self.cursor = to;
                self.push(gap(from, to));
            }
        }
    }

    /// The oldest frame that waits.
    pub(crate) fn first(&self) -> Option<&F> {
        self.queue.front()
    }

    /// The frames that wait, oldest first.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &F> {
        self.queue.iter()
    }

    /// Takes the oldest frame out.
    pub(crate) fn pop(&mut self) -> Option<F> {
        let frame = self.queue.pop_front()?;
        self.queued_bytes -= frame.size();
        if self.queue.is_empty() && self.queue.capacity() > KEPT_CAPACITY {
            self.queue.shrink_to(KEPT_CAPACITY);
        }
        Some(frame)
    }

    /// Keeps the first `kept` frames, and those after them that `fresh` says yes to.
    pub(crate) fn retain_after(&mut self, kept: usize, fresh: impl Fn(&F) -> bool) {
        let mut position = 0;
        self.queue.retain(|frame| {
            position += 1;
            position <= kept || fresh(frame)
        });
        self.queued_bytes = self.queue.iter().map(Frame::size).sum();
    }

    /// Throws away everything but the first `keep` frames; nothing is queued any more.
    pub(crate) fn shut(&mut self, keep: usize) {
        self.mode = Mode::Opening;
        let rest = self.queue.split_off(keep.min(self.queue.len()));
        self.queued_bytes -= rest.iter().map(Frame::size).sum::<usize>();
        self.noted = 0;
        self.dropped = 0;
    }
}

#[cfg(test)]
mod tests;
