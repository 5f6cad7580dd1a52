//! The law of delivery, in any interleaving of what a journal, a fan-out and a subscriber do.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    /// The journal commits a notification that is (not) for the subscriber.
    Commit { mine: bool },
    /// The fan-out offers the next committed notification, this many times.
    Offer { times: usize },
    /// So many frames come that nobody keeps. Of those dropped the owner tells before each, or leaves that for later.
    Relay { count: u32, tells: bool },
    /// The subscriber takes this many frames.
    Take(usize),
    /// The owner reads a page of this size from the journal, if the outbox is behind and empty. What is lost is said in
    /// this form, from this many positions before the cursor on.
    Read(usize, Form, Seq),
    /// The journal forgets its oldest entries but for this many.
    Forget(usize),
    /// From this far before its newest entry on, this many of the journal's entries cannot be read any more.
    Damage(Seq, Seq),
    /// The owner begins to read, if the outbox is behind and empty, and has the page in hand for later.
    Begin(usize),
    /// What the owner has in hand is the page.
    Finish,
    /// So much of what comes next is not offered but must be read.
    Swallow(Seq),
    /// From this far before what is offered next on, this many positions turn out to be lost.
    Lose(Seq, Seq),
}

/// How a journal says that a stretch is lost.
#[derive(Debug, Clone, Copy)]
enum Form {
    Whole,
    Adjoining,
    Overlapping,
}

fn form() -> impl Strategy<Value = Form> {
    prop_oneof![Just(Form::Whole), Just(Form::Adjoining), Just(Form::Overlapping)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<bool>().prop_map(|mine| Step::Commit { mine }),
        4 => (1..3usize).prop_map(|times| Step::Offer { times }),
        3 => (1..6u32, any::<bool>()).prop_map(|(count, tells)| Step::Relay { count, tells }),
        2 => (1..4usize).prop_map(Step::Take),
        2 => (1..4usize, form(), 0..4u64).prop_map(|(limit, form, early)| Step::Read(limit, form, early)),
        1 => (0..6usize).prop_map(Step::Forget),
        1 => (0..12u64, 1..4u64).prop_map(|(back, count)| Step::Damage(back, count)),
        1 => (1..4usize).prop_map(Step::Begin),
        1 => Just(Step::Finish),
        1 => (0..5u64).prop_map(Step::Swallow),
        1 => (0..8u64, 1..8u64).prop_map(|(back, count)| Step::Lose(back, count)),
    ]
}

/// A journal, a fan-out and a subscriber around one outbox.
struct World {
    outbox: Outbox<Sent>,
    mine: BTreeSet<Seq>,
    lost: BTreeSet<Seq>,
    bounds: Bounds,
    offered: Seq,
    /// A page that was read and not taken in yet.
    in_hand: Option<CatchUpPage<Sent>>,
    /// What the outbox was told to be lost.
    told_lost: BTreeSet<Seq>,
    /// How many frames came that nobody keeps, and those that came before the subscriber listened.
    relayed: u32,
    early: u32,
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
            Step::Relay { count, tells } => (0..count).for_each(|_| self.relay(tells)),
            Step::Take(count) => {
                self.sent.extend((0..count).map_while(|_| self.outbox.pop()));
                self.outbox.tell_dropped(Sent::Dropped);
            }
            Step::Read(limit, form, early) if self.reads() => {
                self.in_hand = Some(self.page(self.outbox.cursor(), limit, form, early));
                self.run(&Step::Finish);
            }
            Step::Begin(limit) if self.reads() => {
                self.in_hand = Some(self.page(self.outbox.cursor(), limit, Form::Whole, 0));
            }
            Step::Finish => self.finish(),
            Step::Swallow(count) => {
                self.offered = (self.offered + count).min(self.bounds.newest);
                self.outbox.behind(self.offered);
            }
            Step::Lose(back, count) => self.lose(back, count),
            Step::Forget(kept) => {
                self.bounds.oldest = self.bounds.oldest.max((self.bounds.newest + 1).saturating_sub(kept as Seq));
            }
            Step::Damage(back, count) => {
                let from = self.bounds.newest.saturating_sub(back).max(1);
                self.lost.extend((from..from + count).take_while(|seq| *seq <= self.bounds.newest));
            }
            Step::Offer { .. } | Step::Read(..) | Step::Begin(_) => {}
        }
    }

    fn relay(&mut self, tells: bool) {
        if tells {
            self.outbox.tell_dropped(Sent::Dropped);
        }
        let full = self.outbox.is_full();
        let taken = self.outbox.offer_ephemeral(Sent::Ephemeral(self.relayed));
        self.relayed += 1;
        if !self.outbox.is_listening() {
            self.early = self.relayed;
        } else if tells {
            assert_eq!(taken.is_err(), full, "dropped if, and only if, there was no room");
        }
    }

    /// Whether the owner would read now: one page at a time.
    fn reads(&self) -> bool {
        self.outbox.is_behind() && self.outbox.is_empty() && self.in_hand.is_none()
    }

    /// Some positions of which all before was offered are lost, or some that were offered before, or both.
    fn lose(&mut self, back: Seq, count: Seq) {
        let from = (self.offered + 1).saturating_sub(back).max(1);
        let to = (from + count - 1).min(self.bounds.newest);
        if from > to {
            return;
        }
        self.offered = self.offered.max(to);
        self.lost.extend(from..=to);
        self.told_lost.extend(from..=to);
        self.outbox.lost(from..=to, Sent::Lost);
    }

    /// What the journal has after `cursor`.
    fn page(&self, cursor: Seq, limit: usize, form: Form, early: Seq) -> CatchUpPage<Sent> {
        let from = self.bounds.oldest.max(cursor + 1);
        let found: Vec<Seq> = self.mine.range(from..).filter(|seq| !self.lost.contains(seq)).copied().collect();
        let shown = &found[..found.len().min(limit)];
        let more = found.len() > limit;
        let end = shown.last().filter(|_| more).copied().unwrap_or(self.bounds.newest);
        let lost = self.lost_within(from.saturating_sub(early)..=end, form);
        let frames = shown.iter().map(|seq| (*seq, Sent::Notification(*seq))).collect();
        CatchUpPage { frames, more, bounds: self.bounds, lost }
    }

    fn finish(&mut self) {
        let Some(page) = self.in_hand.take() else { return };
        self.outbox.fill(page, Sent::Gap);
        let told: Vec<_> = self.outbox.waiting().collect();
        for pair in told.windows(2) {
            assert!(!matches!(pair, [Sent::Gap(_, to), Sent::Gap(from, _)] if *from <= to + 1), "{told:?}");
        }
    }

    fn lost_within(&self, positions: RangeInclusive<Seq>, form: Form) -> Vec<RangeInclusive<Seq>> {
        let mut stretches: Vec<RangeInclusive<Seq>> = Vec::new();
        for seq in self.lost.iter().copied().filter(|seq| positions.contains(seq)) {
            match stretches.last_mut() {
                Some(last) if *last.end() + 1 == seq => *last = *last.start()..=seq,
                _ => stretches.push(seq..=seq),
            }
        }
        let said = stretches.into_iter().flat_map(|stretch| {
            let (from, to) = stretch.into_inner();
            let middle = from.midpoint(to);
            match form {
                Form::Whole => vec![from..=to],
                Form::Adjoining if middle < to => vec![from..=middle, middle + 1..=to],
                Form::Adjoining | Form::Overlapping => vec![from..=middle, middle..=to],
            }
        });
        said.collect()
    }

    /// Offers, reads and takes until nothing is left to do.
    fn settle(&mut self) {
        while self.offered < self.bounds.newest || self.outbox.is_behind() || !self.outbox.is_empty() {
            self.run(&Step::Offer { times: 1 });
            self.run(&Step::Take(usize::MAX));
            self.run(&Step::Finish);
            self.run(&Step::Read(2, Form::Whole, 0));
        }
    }
}

proptest! {
    /// Law 2 and 3: whatever is committed, offered, lagged, read, forgotten and damaged in whatever order, a subscriber
    /// gets each notification once and in order, or a gap that covers it; and no gap covers what could be read. What nobody keeps
    /// comes once and in order, too, or is counted as dropped where it is missing. What turns out to be lost is stated, late if
    /// need be, whatever is being read meanwhile.
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
            lost: BTreeSet::new(),
            bounds: Bounds::of_consecutive(1, 0),
            offered: 0,
            in_hand: None,
            told_lost: BTreeSet::new(),
            relayed: 0,
            early: 0,
            sent: Vec::new(),
        };
        before.iter().for_each(|step| world.run(step));
        let cursor = resume_from.map_or(world.bounds.newest, |since| since.min(world.bounds.newest));
        // Who resumes reads its first page before it listens.
        let first = world.page(cursor, 3, Form::Whole, 0);
        during.iter().for_each(|step| world.run(step));
        world.outbox.open_behind(cursor, None);
        world.in_hand = Some(first);
        world.run(&Step::Finish);
        steps.iter().for_each(|step| world.run(step));
        world.settle();

        let (mut covered, mut stated) = (BTreeSet::new(), BTreeSet::new());
        let mut last = cursor;
        let mut passed_by = world.early;
        for sent in &world.sent {
            let (from, to) = match sent {
                Sent::Notification(seq) => (*seq, *seq),
                Sent::Gap(from, to) => (*from, *to),
                Sent::Lost(from, to) => {
                    prop_assert!(cursor < *from && from <= to, "{:?}", world.sent);
                    prop_assert!((*from..=*to).all(|seq| world.lost.contains(&seq)), "{sent:?} covers what could be read");
                    covered.extend(*from..=*to);
                    stated.extend(*from..=*to);
                    last = last.max(*to);
                    continue;
                }
                Sent::Ephemeral(number) => {
                    prop_assert_eq!(*number, passed_by, "{:?}", world.sent);
                    passed_by += 1;
                    continue;
                }
                Sent::Dropped(count) => {
                    passed_by += count;
                    continue;
                }
            };
            prop_assert!(last < from && from <= to, "{:?}", world.sent);
            last = to;
            let missing = |seq: Seq| seq < world.bounds.oldest || world.lost.contains(&seq);
            let is_gap = matches!(sent, Sent::Gap(..));
            prop_assert!(!is_gap || (from..=to).all(missing), "{sent:?} covers what could be read");
            covered.extend(from..=to);
            if is_gap {
                stated.extend(from..=to);
            }
        }
        prop_assert_eq!(passed_by, world.relayed, "sent, or told as dropped: {:?}", world.sent);
        let due: BTreeSet<Seq> = world.mine.range(cursor + 1..).copied().collect();
        prop_assert!(due.is_subset(&covered), "due {due:?}, sent {:?}", world.sent);
        let lost: BTreeSet<Seq> = world.told_lost.range(cursor + 1..).copied().collect();
        prop_assert!(lost.is_subset(&stated), "lost {lost:?}, sent {:?}", world.sent);
        let strangers = world.sent.iter().any(|sent| matches!(sent, Sent::Notification(seq) if !world.mine.contains(seq)));
        prop_assert!(!strangers);
    }
}
