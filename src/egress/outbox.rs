//! The law of delivery for one subscriber, as a pure state machine: each notification once, in order, or a stated gap.
//!
//! The outbox is told of every notification for its subscriber, in `seq` order, and queues the frames that can go out.
//! While it is [`Live`](Mode::Live), what is offered is queued. When the queue is full, the outbox falls
//! [`Behind`](Mode::Behind): from then on it only notes how far the offers went, and whoever owns it reads the journal
//! after the [`cursor`](Outbox::cursor) and [`fill`](Outbox::fill)s the outbox page by page, until it has caught up
//! with the offers. A resume is the same act with an older cursor: the outbox is opened behind.

use std::collections::VecDeque;

use crate::{domain::Seq, journal::Bounds};

/// A queue that was emptied keeps room for this many frames; the rest of its memory goes.
const KEPT_CAPACITY: usize = 4;

/// What a queue holds: something with a size.
pub(super) trait Frame {
    /// How much of the queue it takes, in bytes.
    fn size(&self) -> usize;
}

/// What waits for a subscriber, and how far it has come.
#[derive(Debug)]
pub(super) struct Outbox<F> {
    queue: VecDeque<F>,
    queued_bytes: usize,
    max_bytes: usize,
    /// The last notification that was queued, or that lies before all that is to be delivered.
    cursor: Seq,
    /// The newest notification that was offered and not queued.
    noted: Seq,
    mode: Mode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The subscriber does not listen yet; offers are noted.
    Opening,
    /// What lies after the cursor is in the journal; offers are noted.
    Behind,
    /// Everything up to the cursor was queued; offers are queued.
    Live,
}

/// A part of the journal that an outbox is filled with.
#[derive(Debug)]
pub(super) struct Filling<F> {
    /// The frames with their places, all after the cursor, in order.
    pub(super) frames: Vec<(Seq, F)>,
    /// The journal has more after the last one.
    pub(super) more: bool,
    /// What the journal held when it was read.
    pub(super) bounds: Bounds,
}

/// A frame that nobody keeps did not fit: the subscriber is too slow for the room it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl<F: Frame> Outbox<F> {
    /// An outbox whose subscriber does not listen yet.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { queue: VecDeque::new(), queued_bytes: 0, max_bytes, cursor: 0, noted: 0, mode: Mode::Opening }
    }

    /// Begins delivery after `cursor`, with the frame that tells the subscriber so.
    pub(super) fn open(&mut self, cursor: Seq, first: Option<F>) {
        self.cursor = cursor;
        self.mode = if self.noted > cursor { Mode::Behind } else { Mode::Live };
        first.into_iter().for_each(|frame| self.push(frame));
    }

    /// Begins delivery after `cursor`, where the journal may already hold more than the offers told.
    pub(super) fn open_behind(&mut self, cursor: Seq, first: Option<F>) {
        self.open(cursor, first);
        self.mode = Mode::Behind;
    }

    /// The last notification that was queued.
    pub(super) fn cursor(&self) -> Seq {
        self.cursor
    }

    /// Whether the journal must be read before anything live goes out.
    pub(super) fn is_behind(&self) -> bool {
        self.mode == Mode::Behind
    }

    /// Whether the subscriber listens.
    pub(super) fn is_listening(&self) -> bool {
        self.mode != Mode::Opening
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether the queue takes no more of what can wait elsewhere.
    pub(super) fn is_full(&self) -> bool {
        self.queued_bytes >= self.max_bytes
    }

    /// Takes in a live notification.
    pub(super) fn offer(&mut self, seq: Seq, frame: impl FnOnce() -> F) {
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

    /// Takes in a frame that nobody keeps. One that comes before the subscriber listens is not for it.
    pub(super) fn offer_ephemeral(&mut self, frame: F) -> Result<(), Full> {
        if self.mode == Mode::Opening {
            return Ok(());
        }
        if self.is_full() {
            return Err(Full);
        }
        self.push(frame);
        Ok(())
    }

    /// Queues an answer to the subscriber itself, full or not: whoever owns the outbox asks it nothing while it is full.
    pub(super) fn push(&mut self, frame: F) {
        self.queued_bytes += frame.size();
        self.queue.push_back(frame);
    }

    /// Queues what the journal holds after the cursor. `gap` makes the frame that states what is gone, from and to.
    pub(super) fn fill(&mut self, filling: Filling<F>, gap: impl FnOnce(Seq, Seq) -> F) {
        let bounds = filling.bounds;
        if bounds.oldest > self.cursor + 1 {
            self.push(gap(self.cursor + 1, bounds.oldest - 1));
            self.cursor = bounds.oldest - 1;
        }
        for (seq, frame) in filling.frames {
            if seq > self.cursor {
                self.cursor = seq;
                self.push(frame);
            }
        }
        if !filling.more {
            // The rest of what the journal held is for others.
            self.cursor = self.cursor.max(bounds.newest);
            if self.noted <= self.cursor {
                self.mode = Mode::Live;
            }
        }
    }

    /// The oldest frame that waits.
    pub(super) fn first(&self) -> Option<&F> {
        self.queue.front()
    }

    /// The frames that wait, oldest first.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &F> {
        self.queue.iter()
    }

    /// Takes the oldest frame out.
    pub(super) fn pop(&mut self) -> Option<F> {
        let frame = self.queue.pop_front()?;
        self.queued_bytes -= frame.size();
        if self.queue.is_empty() && self.queue.capacity() > KEPT_CAPACITY {
            self.queue.shrink_to(KEPT_CAPACITY);
        }
        Some(frame)
    }

    /// Keeps the first `kept` frames, and those after them that `fresh` says yes to.
    pub(super) fn retain_after(&mut self, kept: usize, fresh: impl Fn(&F) -> bool) {
        let mut place = 0;
        self.queue.retain(|frame| {
            place += 1;
            place <= kept || fresh(frame)
        });
        self.queued_bytes = self.queue.iter().map(Frame::size).sum();
    }

    /// Throws away everything but the first `keep` frames; nothing is queued any more.
    pub(super) fn shut(&mut self, keep: usize) {
        self.mode = Mode::Opening;
        let rest = self.queue.split_off(keep.min(self.queue.len()));
        self.queued_bytes -= rest.iter().map(Frame::size).sum::<usize>();
        self.noted = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq)]
    enum Sent {
        Notification(Seq),
        Gap(Seq, Seq),
    }

    impl Frame for Sent {
        fn size(&self) -> usize {
            1
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// The journal commits a notification that is (not) for the subscriber.
        Commit { mine: bool },
        /// The fan-out offers the next committed notification, this many times.
        Offer { times: usize },
        /// The subscriber takes this many frames.
        Take(usize),
        /// The owner reads a page of this size from the journal, if the outbox is behind and empty.
        Read(usize),
        /// The journal forgets its oldest entries but for this many.
        Forget(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => any::<bool>().prop_map(|mine| Step::Commit { mine }),
            4 => (1..3usize).prop_map(|times| Step::Offer { times }),
            2 => (1..4usize).prop_map(Step::Take),
            2 => (1..4usize).prop_map(Step::Read),
            1 => (0..6usize).prop_map(Step::Forget),
        ]
    }

    /// A journal, a fan-out and a subscriber around one outbox.
    struct World {
        outbox: Outbox<Sent>,
        mine: BTreeSet<Seq>,
        bounds: Bounds,
        offered: Seq,
        sent: Vec<Sent>,
    }

    impl World {
        fn run(&mut self, step: &Step) {
            match *step {
                Step::Commit { mine } => {
                    self.bounds.newest += 1;
                    if mine {
                        self.mine.insert(self.bounds.newest);
                    }
                }
                Step::Offer { times } if self.offered < self.bounds.newest => {
                    self.offered += 1;
                    if self.mine.contains(&self.offered) {
                        (0..times).for_each(|_| self.outbox.offer(self.offered, || Sent::Notification(self.offered)));
                    }
                }
                Step::Take(count) => self.sent.extend((0..count).map_while(|_| self.outbox.pop())),
                Step::Read(limit) if self.outbox.is_behind() && self.outbox.is_empty() => self.read(limit),
                Step::Forget(kept) => {
                    self.bounds.oldest = self.bounds.oldest.max((self.bounds.newest + 1).saturating_sub(kept as Seq));
                }
                Step::Offer { .. } | Step::Read(_) => {}
            }
        }

        fn read(&mut self, limit: usize) {
            let from = self.bounds.oldest.max(self.outbox.cursor() + 1);
            let found: Vec<Seq> = self.mine.range(from..).copied().collect();
            let frames = found.iter().take(limit).map(|seq| (*seq, Sent::Notification(*seq))).collect();
            let filling = Filling { frames, more: found.len() > limit, bounds: self.bounds };
            self.outbox.fill(filling, Sent::Gap);
        }

        /// Offers, reads and takes until nothing is left to do.
        fn settle(&mut self) {
            while self.offered < self.bounds.newest || self.outbox.is_behind() || !self.outbox.is_empty() {
                self.run(&Step::Offer { times: 1 });
                self.run(&Step::Take(usize::MAX));
                self.run(&Step::Read(2));
            }
        }
    }

    proptest! {
        /// Law 2 and 3: whatever is committed, offered, lagged, read and forgotten in whatever order, a subscriber
        /// gets each notification once and in order, or a gap that covers it.
        #[test]
        fn each_notification_comes_once_and_in_order_or_in_a_stated_gap(
            before in proptest::collection::vec(step(), 0..20),
            during in proptest::collection::vec(step(), 0..20),
            resume_from in proptest::option::of(0..10u64),
            steps in proptest::collection::vec(step(), 0..120),
            max_queued in 1..4usize,
        ) {
            let outbox = Outbox::new(max_queued);
            let mut world = World {
                outbox,
                mine: BTreeSet::new(),
                bounds: Bounds { oldest: 1, newest: 0 },
                offered: 0,
                sent: Vec::new(),
            };
            before.iter().for_each(|step| world.run(step));
            let cursor = resume_from.map_or(world.bounds.newest, |since| since.min(world.bounds.newest));
            during.iter().for_each(|step| world.run(step));
            world.outbox.open_behind(cursor, None);
            steps.iter().for_each(|step| world.run(step));
            world.settle();

            let mut covered = BTreeSet::new();
            let mut last = cursor;
            for sent in &world.sent {
                let (from, to) = match sent {
                    Sent::Notification(seq) => (*seq, *seq),
                    Sent::Gap(from, to) => (*from, *to),
                };
                prop_assert!(last < from && from <= to, "{:?}", world.sent);
                last = to;
                covered.extend(from..=to);
            }
            let due: BTreeSet<Seq> = world.mine.range(cursor + 1..).copied().collect();
            prop_assert!(due.is_subset(&covered), "due {due:?}, sent {:?}", world.sent);
            let strangers = world.sent.iter().any(|sent| matches!(sent, Sent::Notification(seq) if !world.mine.contains(seq)));
            prop_assert!(!strangers);
        }
    }

    #[test]
    fn what_is_offered_before_the_subscriber_listens_is_not_lost_and_not_early() {
        let mut outbox = Outbox::new(10);
        outbox.offer(5, || Sent::Notification(5));
        assert_eq!(outbox.offer_ephemeral(Sent::Gap(0, 0)), Ok(()));
        assert!(outbox.is_empty());
        outbox.open(4, None);
        assert!(outbox.is_behind());
        let mut late = Outbox::new(10);
        late.offer(4, || Sent::Notification(4));
        late.open(4, None);
        assert!(!late.is_behind() && late.is_empty());
    }

    #[test]
    fn a_quiet_subscriber_that_falls_behind_is_told_of_no_gap_over_what_was_for_others() {
        let mut outbox = Outbox::new(1);
        outbox.open(5, Some(Sent::Gap(0, 0)));
        outbox.offer(100_000, || Sent::Notification(100_000));
        assert!(outbox.is_behind());
        outbox.pop();
        let frames = vec![(100_000, Sent::Notification(100_000))];
        let bounds = Bounds { oldest: 50_000, newest: 100_000 };
        outbox.fill(Filling { frames, more: false, bounds }, Sent::Gap);
        assert_eq!(outbox.pop(), Some(Sent::Notification(100_000)));
        assert!(outbox.is_empty() && !outbox.is_behind());
    }

    #[test]
    fn a_frame_that_nobody_keeps_is_refused_when_the_queue_is_full() {
        let mut outbox = Outbox::new(1);
        outbox.open(0, None);
        assert_eq!(outbox.offer_ephemeral(Sent::Gap(1, 1)), Ok(()));
        assert_eq!(outbox.offer_ephemeral(Sent::Gap(2, 2)), Err(Full));
    }
}
