//! Where one gRPC message ends and the next begins: a flag, a length in four bytes, and as many bytes.

/// How many bytes stand before a message.
pub(super) const PREFIX: usize = 5;

/// Follows the messages of a request through its pieces, and keeps none of their bytes.
#[derive(Debug, Default)]
pub(super) struct Framing {
    prefix: [u8; PREFIX],
    /// How many bytes have come of the message that is not complete, with its prefix.
    held: usize,
    /// How many bytes are to come of it, once its length is known.
    missing: usize,
    /// How many messages are complete.
    complete: u64,
}

/// A message is longer than it may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong {
    /// How much of the piece belongs to the messages before.
    pub(super) whole: usize,
}

impl Framing {
    /// How many bytes have come of a message that is not complete.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// How many messages are complete.
    pub(super) fn complete(&self) -> u64 {
        self.complete
    }

    /// Follows the next piece, and says how much of it belongs to messages that are complete. A message of more than `limit`
    /// bytes is a fault as soon as its prefix says so.
    pub(super) fn follow(&mut self, piece: &[u8], limit: usize) -> Result<usize, TooLong> {
        let (mut at, mut whole) = (0, 0);
        while at < piece.len() {
            if self.held < PREFIX {
                self.prefix[self.held] = piece[at];
                self.held += 1;
                at += 1;
                if self.held < PREFIX {
                    continue;
                }
                let [_, length @ ..] = self.prefix;
                self.missing = u32::from_be_bytes(length) as usize;
                if self.missing > limit {
                    return Err(TooLong { whole });
                }
            } else {
                let taken = self.missing.min(piece.len() - at);
                self.missing -= taken;
                self.held += taken;
                at += taken;
            }
            if self.missing == 0 {
                self.held = 0;
                self.complete += 1;
                whole = at;
            }
        }
        Ok(whole)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let prefix = u32::try_from(length).expect("a length").to_be_bytes();
        [&[0][..], &prefix, &vec![1; length]].concat()
    }

    #[test]
    fn a_length_is_judged_before_what_it_announces() {
        let mut framing = Framing::default();
        let piece = [message(3), message(0), vec![0, 0, 0, 0]].concat();
        assert_eq!(framing.follow(&piece, 3), Ok(13));
        assert_eq!((framing.complete(), framing.held()), (2, 4));
        assert_eq!(framing.follow(&[4], 3), Err(TooLong { whole: 0 }));
    }

    proptest! {
        #[test]
        fn messages_end_where_they_end_however_they_are_cut(
            lengths in vec(0_usize..40, 0..12),
            cuts in vec(1_usize..50, 1..20),
        ) {
            let mut stream: Vec<u8> = lengths.iter().flat_map(|length| message(*length)).collect();
            stream.extend([0, 0]);
            let ends: Vec<_> = lengths
                .iter()
                .scan(0, |end, length| { *end += PREFIX + length; Some(*end) })
                .collect();
            let mut framing = Framing::default();
            let (mut at, mut cuts) = (0, cuts.into_iter().cycle());
            while at < stream.len() {
                let next = (at + cuts.next().expect("a cycle")).min(stream.len());
                let whole = framing.follow(&stream[at..next], 40).expect("none is too long");
                let last = ends.iter().rev().find(|end| **end <= next).copied().unwrap_or(0);
                prop_assert_eq!(whole, last.saturating_sub(at));
                prop_assert_eq!(framing.held(), next - last);
                at = next;
            }
            prop_assert_eq!(framing.complete(), lengths.len() as u64);
        }
    }
}
