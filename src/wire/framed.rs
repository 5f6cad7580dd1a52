//! A text with the header of a WebSocket frame in front, made in one buffer: the text is written behind room for a header, which is
//! written when its length is known.

use bytes::{Buf, Bytes};

const FIN: u8 = 0x80;
const TEXT: u8 = 0x1;
const COMPRESSED: u8 = 0x40;

/// How long a header is at the most: a byte, and the length in 7 bits, or in 16 or 64 further ones (RFC 6455, 5.2). A server does not
/// mask.
pub(super) const HEADROOM: usize = 10;

/// A buffer may have so much more room than it uses: an eighth.
const SLACK: usize = 8;

/// A JSON text that is the content of a frame. It is its text to whoever looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Framed {
    frame: Bytes,
    header: usize,
}

impl Framed {
    /// A buffer for a text of about so many bytes, which is to be written behind what is in it.
    pub(super) fn buffer(capacity: usize) -> Vec<u8> {
        let mut buffer = Vec::with_capacity(HEADROOM + capacity);
        buffer.resize(HEADROOM, 0);
        buffer
    }

    /// The text in a [`buffer`](Self::buffer), as a frame.
    pub(super) fn text(buffer: Vec<u8>) -> Self {
        Self::new(FIN | TEXT, buffer)
    }

    /// The same of a text that was compressed.
    pub(super) fn deflated(buffer: Vec<u8>) -> Self {
        Self::new(FIN | COMPRESSED | TEXT, buffer)
    }

    fn new(first: u8, mut buffer: Vec<u8>) -> Self {
        let length = buffer.len() - HEADROOM;
        let mut header = [0; HEADROOM];
        header[0] = first;
        let used = match length {
            0..=125 => {
                header[1] = length as u8;
                2
            }
            126..=65_535 => {
                header[1] = 126;
                header[2..4].copy_from_slice(&(length as u16).to_be_bytes());
                4
            }
            _ => {
                header[1] = 127;
                header[2..].copy_from_slice(&(length as u64).to_be_bytes());
                HEADROOM
            }
        };
        buffer[HEADROOM - used..HEADROOM].copy_from_slice(&header[..used]);
        // It may wait long, and what it takes is reckoned by its length.
        if buffer.capacity() - buffer.len() > buffer.len() / SLACK {
            buffer.shrink_to_fit();
        }
        let mut frame = Bytes::from(buffer);
        frame.advance(HEADROOM - used);
        Self { frame, header: used }
    }

    /// The frame, header and all.
    pub fn frame(&self) -> &Bytes {
        &self.frame
    }

    /// Gives the frame, header and all, when nobody needs the text any more.
    pub fn into_frame(self) -> Bytes {
        self.frame
    }
}

impl std::ops::Deref for Framed {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.frame[self.header..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // what waits for a client is bounded by its length
    #[test]
    fn a_frame_takes_no_more_memory_than_it_is_long() {
        for (capacity, length) in [(100, 100_000), (100_000, 100), (0, 0), (500, 499)] {
            let mut buffer = Framed::buffer(capacity);
            (0..length).for_each(|_| buffer.push(b'x'));
            let (longest, frame) = (buffer.len(), Framed::deflated(buffer).into_frame());
            let taken = frame.try_into_mut().expect("nobody else has it").capacity();
            assert!(taken <= longest + longest / SLACK, "{taken} bytes for {longest}");
        }
    }
}
