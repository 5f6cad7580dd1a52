//! What a message is compressed to for `permessage-deflate` (RFC 7692), without regard to any other message, so that one
//! result serves every subscriber.

use std::cell::RefCell;

use flate2::{Compress, Compression, FlushCompress};

use crate::wire::framed::{Framed, HEADROOM};

/// The longest text that is compressed: while one is, others wait for a delivery.
const LONGEST: usize = 64 * 1024;

/// How far back a message refers to itself: 4 KiB, as two to the power of this. Few messages have more, and there are clients
/// (Python's `websockets`) that want no more.
pub const WINDOW_BITS: u8 = 12;

/// What a flush ends with. It goes without saying.
pub const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

thread_local! {
    /// Its tables are large, and are made once for each thread that delivers.
    static COMPRESS: RefCell<Compress> = RefCell::new(compress());
}

fn compress() -> Compress {
    Compress::new_with_window_bits(Compression::default(), false, WINDOW_BITS)
}

/// The compressed form of `text`, as a frame, if it is shorter and the text is not very long.
pub(super) fn deflate(text: &[u8]) -> Option<Framed> {
    if text.len() > LONGEST {
        return None;
    }
    COMPRESS.with_borrow_mut(|ready| {
        ready.reset();
        let deflated = flush(ready, text);
        if deflated.is_none() {
            // A compressor whose flush was cut short keeps some of it over a reset.
            *ready = compress();
        }
        deflated.filter(|deflated| deflated.len() - HEADROOM < text.len()).map(Framed::deflated)
    })
}

/// All of `text`, up to what goes without saying, behind the room for a header.
fn flush(compress: &mut Compress, text: &[u8]) -> Option<Vec<u8>> {
    // Hardly any text becomes longer than that; one that does is no loss.
    let mut deflated = Framed::buffer(text.len() + text.len() / 8 + 64);
    compress.compress_vec(text, &mut deflated, FlushCompress::Sync).ok()?;
    // A flush that filled all the room may not be complete.
    let complete = compress.total_in() == text.len() as u64 && deflated.len() < deflated.capacity();
    let length = deflated.strip_suffix(&TAIL).filter(|_| complete)?.len();
    deflated.truncate(length);
    Some(deflated)
}

#[cfg(test)]
mod tests {
    use flate2::{Decompress, FlushDecompress};
    use proptest::prelude::*;

    use super::*;

    /// Unpacks a little at a time, as one that remembers no more than the window.
    fn inflate(deflated: &[u8]) -> Vec<u8> {
        let whole = [deflated, &TAIL].concat();
        let mut decompress = Decompress::new_with_window_bits(false, WINDOW_BITS);
        let (mut inflated, mut part) = (Vec::new(), Vec::with_capacity(256));
        loop {
            part.clear();
            let rest = &whole[decompress.total_in() as usize..];
            decompress.decompress_vec(rest, &mut part, FlushDecompress::Sync).expect("it is valid");
            inflated.extend_from_slice(&part);
            if part.len() < part.capacity() {
                assert_eq!(decompress.total_in(), whole.len() as u64);
                return inflated;
            }
        }
    }

    fn noise(length: usize) -> Vec<u8> {
        (0..length).map(|_| rand::random()).collect()
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
        let long = "una notificación ".repeat(3_000);
        assert_eq!(inflate(&deflate(long.as_bytes()).expect("shorter")), long.as_bytes());
        assert_eq!(deflate(long.repeat(2).as_bytes()), None, "too long");
    }

    // A message refers no farther back than the window, though it has reason to.
    #[test]
    fn a_window_of_four_kibibytes_is_enough() {
        let text: Vec<u8> = noise(3_000).iter().map(|byte| b'a' + byte % 26).collect();
        for apart in [1_000, 2_000, 20_000] {
            let text = [&text[..], &vec![b'-'; apart], &text].concat();
            assert_eq!(inflate(&deflate(&text).expect("shorter")), text);
        }
    }

    // zlib-rs keeps some of a flush that was cut short, over a reset: it would come with the next messages, or panic.
    #[test]
    fn what_does_not_become_shorter_leaves_nothing_to_the_next() {
        for length in [10_000, 58_000, 62_000, 64_000, 65_000] {
            for _ in 0..20 {
                assert_eq!(deflate(&noise(length)), None);
                let text = "una presentación como las demás ".repeat(20);
                assert_eq!(inflate(&deflate(text.as_bytes()).expect("shorter")), text.as_bytes());
            }
        }
    }
}
