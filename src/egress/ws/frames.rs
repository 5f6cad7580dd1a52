//! Follows the frames of a client by their heads alone, and so knows where messages begin and end, before anybody has put them
//! together.
//!
//! It only counts. What breaks the rules of the protocol passes, for tungstenite to refuse.

use std::num::NonZeroUsize;

/// The longest head without its mask: two bytes, and a length of eight.
const LONGEST_HEAD: usize = 10;

/// Where in the frames of a client reading is.
#[derive(Debug)]
pub(super) struct Frames {
    /// How many fragments a message may have.
    max_fragments: usize,
    /// The head of a frame as far as it came, and how much that is.
    head: [u8; LONGEST_HEAD],
    came: usize,
    /// What is to come of the frame behind that part of its head: its mask and its content.
    left: u64,
    /// The frame is a part of a message, and none of control.
    is_data: bool,
    /// It is the last of its message.
    is_last: bool,
    /// How many frames the unfinished message has so far.
    fragments: usize,
    /// How many frames came that continue a message, since somebody asked.
    continuations: u32,
    /// How much came of the unfinished message, with the heads of its frames.
    bytes: usize,
    /// How much came of an unfinished frame of control.
    control_bytes: usize,
    /// How many messages came to their end; it goes round.
    finished: u32,
}

/// A message has more fragments than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany;

impl Frames {
    /// Before the first frame.
    pub(super) fn new(max_fragments: NonZeroUsize) -> Self {
        Self {
            max_fragments: max_fragments.get(),
            head: [0; LONGEST_HEAD],
            came: 0,
            left: 0,
            is_data: false,
            is_last: false,
            fragments: 0,
            continuations: 0,
            bytes: 0,
            control_bytes: 0,
            finished: 0,
        }
    }

    /// Whether everything that began is complete.
    pub(super) fn is_between_messages(&self) -> bool {
        self.came == 0 && self.left == 0 && self.fragments == 0
    }

    /// How many bytes came of what is unfinished.
    pub(super) fn unfinished_bytes(&self) -> usize {
        self.bytes + self.control_bytes
    }

    /// How many messages came to their end. It only serves to tell one from the next.
    pub(super) fn finished(&self) -> u32 {
        self.finished
    }

    /// How many frames came, since this was asked last, that continue a message.
    pub(super) fn take_continuations(&mut self) -> u32 {
        std::mem::take(&mut self.continuations)
    }

    /// Takes in what came next.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) -> Result<(), TooMany> {
        while let [first, rest @ ..] = bytes {
            if self.left > 0 {
                let some = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= some as u64;
                self.count_bytes(some);
                bytes = &bytes[some..];
            } else {
                self.head[self.came] = *first;
                self.came += 1;
                bytes = rest;
                if !self.begin_frame()? {
                    continue;
                }
            }
            if self.left == 0 {
                self.end_frame();
            }
        }
        Ok(())
    }

    /// Goes from the head to what is behind it, if the head is complete. Answers whether it is.
    fn begin_frame(&mut self) -> Result<bool, TooMany> {
        let [first, second, length @ ..] = self.head;
        let (length, size) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes([length[0], length[1]])), 4),
            127 => (u64::from_be_bytes(length), LONGEST_HEAD),
            short => (u64::from(short), 2),
        };
        if self.came < 2 || self.came < size {
            return Ok(false);
        }
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        self.left = length.saturating_add(mask);
        self.came = 0;
        self.is_data = first & 0x08 == 0;
        self.is_last = first & 0x80 != 0;
        if self.is_data {
            self.continuations += u32::from(self.fragments > 0);
            self.fragments += 1;
            if self.fragments > self.max_fragments {
                return Err(TooMany);
            }
        }
        self.count_bytes(size);
        Ok(true)
    }

    fn count_bytes(&mut self, bytes: usize) {
        *(if self.is_data { &mut self.bytes } else { &mut self.control_bytes }) += bytes;
    }

    fn end_frame(&mut self) {
        self.control_bytes = 0;
        if self.is_data && self.is_last {
            self.fragments = 0;
        }
        if self.fragments == 0 {
            self.bytes = 0;
            self.finished = self.finished.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: NonZeroUsize = NonZeroUsize::new(4).expect("not zero");

    /// A frame with a mask, or without one, which is a fault that passes.
    fn frame(first: u8, mask: bool, length: usize) -> Vec<u8> {
        let mask_bit = if mask { 0x80 } else { 0 };
        let mut frame = match length {
            0..=125 => vec![first, mask_bit | length as u8],
            126..=0xffff => [&[first, mask_bit | 126][..], &(length as u16).to_be_bytes()].concat(),
            _ => [&[first, mask_bit | 127][..], &(length as u64).to_be_bytes()].concat(),
        };
        // Content that would be frames, if it were taken for that.
        frame.resize(frame.len() + if mask { 4 } else { 0 } + length, 0x81);
        frame
    }

    #[derive(Debug, Clone)]
    struct Said {
        lengths: Vec<usize>,
        masked: bool,
        pings: bool,
    }

    fn said() -> impl Strategy<Value = Said> {
        let length = prop_oneof![4 => 0..10usize, 2 => 120..130usize, 1 => 65_530..65_540usize];
        let parts = (proptest::collection::vec(length, 1..=MAX.get()), any::<bool>(), any::<bool>());
        parts.prop_map(|(lengths, masked, pings)| Said { lengths, masked, pings })
    }

    impl Said {
        /// The frames, with whether a message is unfinished behind each.
        fn frames(&self) -> Vec<(Vec<u8>, bool)> {
            let last = self.lengths.len() - 1;
            let mut frames = Vec::new();
            for (number, length) in self.lengths.iter().enumerate() {
                let first = u8::from(number == 0) | if number == last { 0x80 } else { 0 };
                frames.push((frame(first, self.masked, *length), number < last));
                if self.pings {
                    frames.push((frame(0x89, self.masked, 3), number < last));
                }
            }
            frames
        }
    }

    proptest! {
        // Whatever is said, in whatever fragments, and into whatever pieces those are torn.
        #[test]
        fn it_knows_where_messages_end(
            said in proptest::collection::vec(said(), 1..5),
            pieces in proptest::collection::vec(1..700usize, 1..5),
        ) {
            let mut frames = Frames::new(MAX);
            let mut sizes = pieces.iter().cycle();
            let mut finished = 0;
            for message in &said {
                let mut unfinished_bytes = 0;
                for (bytes, unfinished) in message.frames() {
                    let is_data = bytes[0] & 0x08 == 0;
                    let mut rest = &bytes[..];
                    while !rest.is_empty() {
                        let (piece, after) = rest.split_at(rest.len().min(*sizes.next().expect("a size")));
                        prop_assert_eq!(frames.follow(piece), Ok(()));
                        prop_assert_eq!(frames.is_between_messages(), after.is_empty() && !unfinished);
                        rest = after;
                    }
                    unfinished_bytes += if is_data { bytes.len() } else { 0 };
                    finished += u32::from(!unfinished);
                    prop_assert_eq!(frames.unfinished_bytes(), if unfinished { unfinished_bytes } else { 0 });
                    prop_assert_eq!(frames.finished(), finished);
                }
                prop_assert_eq!(frames.take_continuations() as usize, message.lengths.len() - 1);
            }
        }

        // Whatever comes, nothing panics, and no message has more fragments than it may.
        #[test]
        fn noise_is_followed(noise in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            let mut frames = Frames::new(MAX);
            for piece in noise.chunks(7) {
                if frames.follow(piece).is_err() {
                    break;
                }
                prop_assert!(frames.fragments <= MAX.get());
            }
        }
    }

    #[test]
    fn one_fragment_more_than_a_message_may_have_is_too_many() {
        let mut frames = Frames::new(MAX);
        let as_many = [frame(0x01, true, 0), frame(0x00, true, 0).repeat(2), frame(0x80, true, 0)].concat();
        assert_eq!(frames.follow(&as_many.repeat(10)), Ok(()), "each message by itself");
        assert_eq!(frames.follow(&[frame(0x01, true, 0), frame(0x00, true, 0).repeat(3)].concat()), Ok(()));
        assert_eq!(frames.follow(&frame(0x80, true, 0)), Err(TooMany));
    }

    #[test]
    fn a_frame_without_a_bound_is_waited_for() {
        let mut frames = Frames::new(MAX);
        assert_eq!(frames.follow(&[&[0x82, 0xff][..], &[0xff; 8], &[1; 100]].concat()), Ok(()));
        assert!(!frames.is_between_messages());
    }
}
