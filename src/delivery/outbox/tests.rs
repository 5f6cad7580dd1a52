use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Sent {
    Notification(Seq),
    Gap(Seq, Seq),
    /// A gap that was told when it became known that this is lost: in its place or late.
    Lost(Seq, Seq),
    /// A frame that nobody keeps, by its number.
    Ephemeral(u32),
    /// So many of them were dropped.
    Dropped(u32),
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
    let bounds = Bounds::of_consecutive(50_000, 100_000);
    outbox.fill(CatchUpPage { frames, more: false, bounds, lost: Vec::new() }, Sent::Gap);
    assert_eq!(outbox.pop(), Some(Sent::Notification(100_000)));
    assert!(outbox.is_empty() && !outbox.is_behind());
}

#[test]
fn what_is_lost_is_told_in_its_place_and_what_touches_as_one() {
    let mut outbox = Outbox::new(10);
    outbox.open_behind(4, None);
    let frames = [12, 20].map(|seq| (seq, Sent::Notification(seq))).into();
    let lost = vec![2..=3, 8..=9, 10..=10, 14..=15, 15..=17, 30..=Seq::MAX];
    let bounds = Bounds::of_consecutive(8, 40);
    outbox.fill(CatchUpPage { frames, more: false, bounds, lost }, Sent::Gap);
    let told: Vec<_> = std::iter::from_fn(|| outbox.pop()).collect();
    let (gap, notification) = (Sent::Gap, Sent::Notification);
    assert_eq!(told, [gap(5, 10), notification(12), gap(14, 17), notification(20), gap(30, 40)]);
    assert_eq!((outbox.cursor(), outbox.is_behind()), (40, false));
}

// without that the page would be read again and again
#[test]
fn a_page_of_which_nothing_can_be_read_moves_the_cursor() {
    let mut outbox = Outbox::new(10);
    outbox.open_behind(4, None);
    let bounds = Bounds::of_consecutive(1, 40);
    outbox.fill(CatchUpPage { frames: Vec::new(), more: true, bounds, lost: vec![1..=9] }, Sent::Gap);
    assert_eq!((outbox.pop(), outbox.pop(), outbox.cursor()), (Some(Sent::Gap(5, 9)), None, 9));
    assert!(outbox.is_behind());
}

#[test]
fn a_frame_that_nobody_keeps_is_dropped_when_the_queue_is_full_and_told_when_there_is_room() {
    let mut outbox = Outbox::new(1);
    outbox.open(0, None);
    outbox.tell_dropped(Sent::Dropped);
    assert_eq!(outbox.offer_ephemeral(Sent::Ephemeral(1)), Ok(()));
    for number in 2..5 {
        assert_eq!(outbox.offer_ephemeral(Sent::Ephemeral(number)), Err(Full));
        outbox.tell_dropped(Sent::Dropped);
    }
    assert_eq!(outbox.pop(), Some(Sent::Ephemeral(1)));
    assert_eq!(outbox.offer_ephemeral(Sent::Ephemeral(5)), Err(Full), "it would come before what is told");
    outbox.tell_dropped(Sent::Dropped);
    assert_eq!(outbox.pop(), Some(Sent::Dropped(4)));
    outbox.tell_dropped(Sent::Dropped);
    assert!(outbox.is_empty(), "told once");
    assert_eq!(outbox.offer_ephemeral(Sent::Ephemeral(6)), Ok(()));
}

#[test]
fn what_is_lost_is_told_in_its_place_or_late_and_the_cursor_never_goes_back() {
    let mut outbox = Outbox::new(2);
    outbox.open(4, None);
    outbox.offer(8, || Sent::Notification(8));
    outbox.lost(2..=5, Sent::Lost);
    assert_eq!(outbox.cursor(), 8);
    // There is no room: it is read, and so is what lies behind it.
    outbox.lost(11..=12, Sent::Lost);
    assert_eq!((outbox.cursor(), outbox.is_behind()), (10, true));
    outbox.offer(13, || Sent::Notification(13));
    outbox.lost(1..=4, Sent::Lost);
    let told: Vec<_> = std::iter::from_fn(|| outbox.pop()).collect();
    assert_eq!(told, [Sent::Notification(8), Sent::Lost(5, 5)], "it began behind the fourth");
    let frames = vec![(13, Sent::Notification(13))];
    let bounds = Bounds::of_consecutive(1, 13);
    outbox.fill(CatchUpPage { frames, more: false, bounds, lost: vec![11..=12] }, Sent::Gap);
    assert_eq!((outbox.pop(), outbox.pop()), (Some(Sent::Gap(11, 12)), Some(Sent::Notification(13))));
    assert!(!outbox.is_behind());
}

#[test]
fn a_page_that_may_not_tell_of_all_that_is_lost_is_read_again() {
    let mut outbox = Outbox::new(9);
    outbox.lost(6..=7, Sent::Lost);
    outbox.open_behind(5, None);
    let page = |lost| CatchUpPage {
        frames: vec![(8, Sent::Notification(8))],
        more: false,
        bounds: Bounds::of_consecutive(1, 8),
        lost,
    };
    outbox.fill(page(Vec::new()), Sent::Gap);
    assert!(outbox.is_empty() && outbox.is_behind());
    outbox.fill(page(vec![6..=7]), Sent::Gap);
    assert_eq!((outbox.pop(), outbox.pop()), (Some(Sent::Gap(6, 7)), Some(Sent::Notification(8))));
}

#[test]
fn what_is_swallowed_is_read() {
    let mut outbox = Outbox::<Sent>::new(9);
    outbox.open(5, None);
    outbox.behind(5);
    assert!(!outbox.is_behind());
    outbox.behind(7);
    assert_eq!((outbox.cursor(), outbox.is_behind()), (5, true));
    outbox.fill(
        CatchUpPage { frames: Vec::new(), more: false, bounds: Bounds::of_consecutive(1, 7), lost: Vec::new() },
        Sent::Gap,
    );
    assert_eq!((outbox.cursor(), outbox.is_behind()), (7, false));
}

#[test]
fn an_outbox_is_small() {
    assert_eq!(mem::size_of::<Outbox<Sent>>(), 80);
}
