//! What of a page of the journal cannot be read, as it is told on every way out.

use std::ops::RangeInclusive;

use crate::{domain::Seq, journal::Page};

/// How many ranges of a page are told one by one. When there are more, as in a file that is damaged all over, those that have
/// none of the page's notifications between them are told as one, from the first to the last: what lies between them is for
/// others, so that nobody hears of it less, and an answer has at most one range more than it has notifications.
const TOLD_APART: usize = 64;

/// What is missing from the page, in the order of the positions and none touching another.
pub(crate) fn missing(page: &Page, newest_first: bool) -> Vec<RangeInclusive<Seq>> {
    let (first, last) = covered(page, newest_first);
    let within = page.lost.iter().map(|range| *range.start().max(&first)..=*range.end().min(&last));
    let apart = joined(within.filter(|range| !range.is_empty()), |to, from| from <= to.saturating_add(1));
    if apart.len() <= TOLD_APART {
        return apart;
    }
    let mut seqs: Vec<Seq> = page.notifications.iter().map(|notification| notification.seq).collect();
    seqs.sort_unstable();
    let before = |position| seqs.partition_point(|seq| *seq < position);
    joined(apart.into_iter(), |to, from| before(to) == before(from))
}

/// Where the next page begins; `begin` is where this one did. A page in which nothing could be read leads on as well.
pub(crate) fn end(page: &Page, missing: &[RangeInclusive<Seq>], newest_first: bool, begin: Seq) -> Seq {
    let last = page.notifications.last().map(|notification| notification.seq);
    if newest_first {
        let lowest = missing.first().map(|range| *range.start());
        last.into_iter().chain(lowest).min().unwrap_or(begin)
    } else {
        let highest = missing.last().map(|range| *range.end());
        last.into_iter().chain(highest).max().unwrap_or(begin)
    }
}

/// The positions that the page covers, as far as its last notification bounds them: what is missing behind that one belongs to
/// the next page.
fn covered(page: &Page, newest_first: bool) -> (Seq, Seq) {
    match page.notifications.last().filter(|_| page.more) {
        Some(last) if newest_first => (last.seq, Seq::MAX),
        Some(last) => (0, last.seq),
        None => (0, Seq::MAX),
    }
}

/// The ranges with those made one that `joins` says belong together, by the end of the one and the start of the next.
fn joined(
    ranges: impl Iterator<Item = RangeInclusive<Seq>>,
    joins: impl Fn(Seq, Seq) -> bool,
) -> Vec<RangeInclusive<Seq>> {
    let mut joined: Vec<RangeInclusive<Seq>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if joins(*last.end(), *range.start()) => *last = *last.start()..=*last.end().max(range.end()),
            _ => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        domain::{Audience, Epoch, Event, Notification, Payload},
        journal::Bounds,
    };

    fn page(seqs: &[Seq], more: bool, lost: Vec<RangeInclusive<Seq>>) -> Page {
        let notification = |seq: &Seq| {
            let payload = Payload::parse("{}".into()).expect("an object");
            let event = Event { name: "e".into(), payload, timestamp: "".into(), source: "".into() };
            Arc::new(Notification::new(Epoch::from_text("x"), *seq, event, Audience::Everyone.into(), None))
        };
        let bounds = Bounds::of_consecutive(1, 100_000);
        Page { notifications: seqs.iter().map(notification).collect(), more, bounds, lost }
    }

    #[test]
    fn what_lies_behind_the_last_notification_belongs_to_the_next_page() {
        let lost = || vec![2..=3, 5..=6, 9..=9];
        assert_eq!(missing(&page(&[4, 8], true, lost()), false), [2..=3, 5..=6]);
        assert_eq!(missing(&page(&[4, 8], false, lost()), false), lost());
        assert_eq!(missing(&page(&[8, 4], true, lost()), true), [5..=6, 9..=9]);
        assert_eq!(missing(&page(&[8, 4], false, lost()), true), lost());
        assert_eq!(missing(&page(&[], true, lost()), false), lost());
    }

    #[test]
    fn what_touches_is_one() {
        assert_eq!(missing(&page(&[], false, vec![1..=2, 3..=4, 4..=9, 11..=11]), false), [1..=9, 11..=11]);
    }

    // whoever reads on must come further, whatever the page holds
    #[test]
    fn a_page_of_which_nothing_can_be_read_leads_on() {
        let end = |page: &Page, newest_first| end(page, &missing(page, newest_first), newest_first, 1);
        assert_eq!(end(&page(&[], true, vec![2..=3, 5..=60]), false), 60);
        assert_eq!(end(&page(&[], true, vec![20..=30, 50..=60]), true), 20);
        assert_eq!(end(&page(&[4, 8], true, vec![9..=9]), false), 8);
        assert_eq!(end(&page(&[4, 8], false, vec![9..=9]), false), 9);
        assert_eq!(end(&page(&[8, 4], false, vec![2..=3]), true), 2);
        assert_eq!(end(&page(&[], false, Vec::new()), false), 1);
    }

    #[test]
    fn very_many_are_told_as_few_and_none_covers_a_notification() {
        let lost: Vec<_> = (1..=10_000).map(|number| number * 3..=number * 3).collect();
        let seqs = [7, 8, 1_000, 20_000, 29_999];
        let told = missing(&page(&seqs, false, lost.clone()), false);
        assert_eq!(told, [3..=6, 9..=999, 1_002..=19_998, 20_001..=29_997, 30_000..=30_000]);
        let (few, _) = lost.split_at(TOLD_APART);
        assert_eq!(missing(&page(&seqs, false, few.to_vec()), false), few, "few are told as they are");
    }
}
