//! What a message is compressed to for `permessage-deflate` (RFC 7692), without regard to any other message, so that one
//! result serves every subscriber.

use std::cell::RefCell;

use flate2::{Compress, Compression, FlushCompress};

/// How far back a message refers to itself: 4 KiB, as two to the power of this. Few messages have more, and there are clients
/// (Python's `websockets`) that want no more.
pub const WINDOW_BITS: u8 = 12;

/// What a flush ends with. It goes without saying.
pub const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

thread_local! {
    /// Its tables are large, and are made once for each thread that delivers.
    static COMPRESS: RefCell<Compress> =
        RefCell::new(Compress::new_with_window_bits(Compression::fast(), false, WINDOW_BITS));
}

/// The compressed form of `text`, if it is shorter.
pub(super) fn deflate(text: &[u8]) -> Option<Vec<u8>> {
    // What needs more room than this is not shorter. A flush that filled all of it may not be complete.
    let mut deflated = Vec::with_capacity(text.len() + TAIL.len());
    COMPRESS.with_borrow_mut(|compress| {
        compress.reset();
        compress.compress_vec(text, &mut deflated, FlushCompress::Sync).ok()?;
        let complete = compress.total_in() == text.len() as u64 && deflated.len() < deflated.capacity();
        let length = deflated.strip_suffix(&TAIL).filter(|_| complete)?.len();
        deflated.truncate(length);
        (length < text.len()).then_some(deflated)
    })
}

#[cfg(test)]
mod tests {
    use flate2::{Decompress, FlushDecompress};
    use proptest::prelude::*;

    use super::*;

    fn inflate(deflated: &[u8]) -> Vec<u8> {
        let mut inflated = Vec::with_capacity(1 << 20);
        let mut decompress = Decompress::new_with_window_bits(false, WINDOW_BITS);
        let whole = [deflated, &TAIL].concat();
        decompress.decompress_vec(&whole, &mut inflated, FlushDecompress::Sync).expect("it is valid");
        assert_eq!(decompress.total_in(), whole.len() as u64);
        inflated
    }

    proptest! {
        // One after the other on the same thread: none of them knows of the others.
        #[test]
        fn what_is_compressed_comes_back(texts in proptest::collection::vec("([a-c]{0,40}|\\PC{0,40}){0,200}", 1..4)) {
            for text in texts {
                if let Some(deflated) = deflate(text.as_bytes()) {
                    prop_assert!(deflated.len() < text.len());
                    prop_assert_eq!(inflate(&deflated), text.into_bytes());
                }
            }
        }
    }

    #[test]
    fn what_does_not_become_shorter_is_left() {
        assert_eq!(deflate(b""), None);
        assert_eq!(deflate(b"abc"), None);
        let noise: Vec<u8> = (0..10_000).map(|_| rand::random()).collect();
        assert_eq!(deflate(&noise), None);
        let long = "una notificación ".repeat(10_000);
        assert_eq!(inflate(&deflate(long.as_bytes()).expect("shorter")), long.as_bytes());
    }
}
