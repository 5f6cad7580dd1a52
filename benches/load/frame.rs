//! WebSocket frames: a server's are read where they lie, a client's are written.

pub(crate) const TEXT: u8 = 0x1;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xa;

/// A complete frame in a buffer.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) opcode: u8,
    pub(crate) compressed: bool,
    pub(crate) payload: &'a [u8],
    /// How much of the buffer it takes.
    pub(crate) length: usize,
}

/// The frame that `bytes` begins with, when it is complete. A server does not mask.
#[inline]
pub(crate) fn first(bytes: &[u8]) -> Option<Frame<'_>> {
    let (header, length) = match *bytes.get(1)? & 0x7f {
        126 => (4, u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
        short => (2, u64::from(short)),
    };
    let end = header + usize::try_from(length).ok()?;
    let (opcode, compressed) = (bytes[0] & 0xf, bytes[0] & 0x40 != 0);
    Some(Frame { opcode, compressed, payload: bytes.get(header..end)?, length: end })
}

/// A text frame as a server sends it.
pub(crate) fn put_text(payload: &[u8], out: &mut Vec<u8>) {
    put(TEXT, 0, payload, out);
}

/// A frame as a client sends it. Its mask is all zeros, which leaves the payload as it is.
pub(crate) fn put_masked(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    put(opcode, 0x80, payload, out);
}

fn put(opcode: u8, mask: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match payload.len() {
        short @ 0..=125 => out.push(mask | short as u8),
        long @ 126..=65_535 => {
            out.push(mask | 126);
            out.extend_from_slice(&(long as u16).to_be_bytes());
        }
        huge => {
            out.push(mask | 127);
            out.extend_from_slice(&(huge as u64).to_be_bytes());
        }
    }
    if mask != 0 {
        out.extend_from_slice(&[0; 4]);
    }
    out.extend_from_slice(payload);
}
