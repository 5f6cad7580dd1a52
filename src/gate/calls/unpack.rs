//! Messages that a client compressed with gzip: each is unpacked when it is complete, up to its limit, and not before the one
//! before it is taken.

use std::{
    io::Read,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes, BytesMut};
use flate2::read::MultiGzDecoder;

use crate::gate::calls::framing::PREFIX;

/// After so many bytes others get their turn.
const AT_ONCE: usize = 1024 * 1024;

/// What has come of a compressed request. Whoever pushes bounds it: no message in it is longer than the limit of its method.
#[derive(Debug, Default)]
pub(super) struct Packed {
    came: BytesMut,
    /// How much was unpacked since others had their turn.
    unpacked: usize,
}

/// Why a message cannot be unpacked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum UnpackFault {
    /// It is longer than its limit when it is unpacked.
    TooLong,
    /// It is no gzip.
    NotGzip,
}

impl Packed {
    /// Takes in the next piece.
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.came.extend_from_slice(piece);
    }

    /// The next complete message, as it would have come without compression; none, where no other is complete.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>, limit: usize) -> Poll<Option<Result<Bytes, UnpackFault>>> {
        let Some(&[flag, ref length @ ..]) = self.came.first_chunk::<PREFIX>() else { return Poll::Ready(None) };
        let end = PREFIX + u32::from_be_bytes(*length) as usize;
        if self.came.len() < end {
            return Poll::Ready(None);
        }
        if self.unpacked >= AT_ONCE {
            self.unpacked = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut message = self.came.split_to(end);
        if flag != 1 {
            // Whatever else it says, the reader says what is wrong with it.
            return Poll::Ready(Some(Ok(message.freeze())));
        }
        message.advance(PREFIX);
        let unpacked = unpack(&message, limit);
        self.unpacked += unpacked.as_ref().map_or(limit, Bytes::len);
        Poll::Ready(Some(unpacked))
    }
}

/// Unpacks a message into a frame that says that it is not compressed.
fn unpack(message: &[u8], limit: usize) -> Result<Bytes, UnpackFault> {
    let mut frame = vec![0; PREFIX];
    // One byte more tells what is too long.
    let mut reader = MultiGzDecoder::new(message).take(limit as u64 + 1);
    let length = reader.read_to_end(&mut frame).map_err(|_| UnpackFault::NotGzip)?;
    let length = u32::try_from(length).ok().filter(|_| length <= limit).ok_or(UnpackFault::TooLong)?;
    frame[1..PREFIX].copy_from_slice(&length.to_be_bytes());
    Ok(frame.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use futures_util::task::noop_waker_ref;

    use super::*;

    fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).expect("a length").to_be_bytes();
        [&[flag][..], &length, message].concat()
    }

    fn packed(message: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(message).expect("memory takes it");
        framed(1, &gzip.finish().expect("memory takes it"))
    }

    /// Everything that comes of the pieces.
    fn unpacked(pieces: &[&[u8]], limit: usize) -> Result<Vec<u8>, UnpackFault> {
        let mut packed = Packed::default();
        let mut all = Vec::new();
        for piece in pieces {
            packed.push(piece);
            let cx = &mut Context::from_waker(noop_waker_ref());
            while let Poll::Ready(Some(message)) = packed.poll_next(cx, limit) {
                all.extend_from_slice(&message?);
            }
        }
        Ok(all)
    }

    #[test]
    fn messages_are_unpacked_however_they_are_cut() {
        let stream = [packed(b"abc"), framed(0, b"def"), packed(b"")].concat();
        let plain = [framed(0, b"abc"), framed(0, b"def"), framed(0, b"")].concat();
        for cut in 0..stream.len() {
            let (begin, rest) = stream.split_at(cut);
            assert_eq!(unpacked(&[begin, rest], 3).as_ref(), Ok(&plain), "{cut}");
        }
    }

    #[test]
    fn what_is_too_long_when_it_is_unpacked_is_refused() {
        assert_eq!(unpacked(&[&packed(&[0; 100])], 100), Ok(framed(0, &[0; 100])));
        assert_eq!(unpacked(&[&packed(&[0; 101])], 100), Err(UnpackFault::TooLong));
        assert_eq!(unpacked(&[&framed(1, b"no gzip")], 100), Err(UnpackFault::NotGzip));
        let broken = packed(b"abc");
        assert_eq!(unpacked(&[&framed(1, &broken[PREFIX..broken.len() - 4])], 100), Err(UnpackFault::NotGzip));
    }

    // whoever sends much in little leaves a turn to others
    #[test]
    fn others_have_their_turn() {
        let mut stream = Packed::default();
        (0..2).for_each(|_| stream.push(&packed(&vec![0; AT_ONCE])));
        let cx = &mut Context::from_waker(noop_waker_ref());
        let mut next = || stream.poll_next(cx, AT_ONCE).map(|message| message.map(|message| message.is_ok()));
        assert_eq!([next(), next(), next()], [Poll::Ready(Some(true)), Poll::Pending, Poll::Ready(Some(true))]);
    }
}
