//! What an outbox does, one step at a time; and the law that it keeps, whatever the steps are.

mod law;

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
