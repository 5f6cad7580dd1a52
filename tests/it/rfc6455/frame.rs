//! Frames of a client, right and wrong.

/// The last frame of a message.
pub(crate) const FIN: u8 = 0x80;

/// The opcodes that the RFC defines.
pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xa;

/// All of them.
pub(crate) const OPCODES: [u8; 6] = [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG];
pub(crate) const CONTROL: [u8; 3] = [CLOSE, PING, PONG];

/// How the length of a frame is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    Bits7,
    Bits16,
    Bits64,
}

impl Length {
    /// The shortest that holds `length`, which is the one that the RFC wants.
    pub(crate) fn shortest(length: usize) -> Self {
        match length {
            0..=125 => Self::Bits7,
            126..=0xffff => Self::Bits16,
            _ => Self::Bits64,
        }
    }

    /// The second byte and the length after it.
    fn write(self, mask_bit: u8, length: usize) -> Vec<u8> {
        match self {
            Self::Bits7 => vec![mask_bit | u8::try_from(length).expect("at most 125")],
            Self::Bits16 => {
                let length = u16::try_from(length).expect("at most 65,535");
                [&[mask_bit | 126][..], &length.to_be_bytes()].concat()
            }
            Self::Bits64 => [&[mask_bit | 127][..], &(length as u64).to_be_bytes()].concat(),
        }
    }
}

/// A frame as a client must write it. `first` is the bits and the opcode.
pub(crate) fn masked(first: u8, content: &[u8]) -> Vec<u8> {
    masked_with([0x37, 0xfa, 0x21, 0x3d], Length::shortest(content.len()), first, content)
}

/// A frame with a mask and a form of its length.
pub(crate) fn masked_with(mask: [u8; 4], length: Length, first: u8, content: &[u8]) -> Vec<u8> {
    let content: Vec<_> = content.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    [&[first][..], &length.write(0x80, content.len()), &mask, &content].concat()
}

/// A frame without a mask, as only servers may write it.
pub(crate) fn unmasked(first: u8, content: &[u8]) -> Vec<u8> {
    let length = Length::shortest(content.len()).write(0, content.len());
    [&[first][..], &length, content].concat()
}

/// A message in fragments: the first has the opcode, the last the end.
pub(crate) fn fragments(opcode: u8, parts: &[&[u8]]) -> Vec<Vec<u8>> {
    let last = parts.len() - 1;
    let first_byte = |index| if index == 0 { opcode } else { CONTINUATION } | if index == last { FIN } else { 0 };
    parts.iter().enumerate().map(|(index, part)| masked(first_byte(index), part)).collect()
}

/// What a close frame holds.
pub(crate) fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    masked(FIN | CLOSE, &[&code.to_be_bytes()[..], reason].concat())
}
