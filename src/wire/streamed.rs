//! The requests of a stream, each by itself: one that cannot be decoded takes no other with it.

use bytes::{Buf, BufMut};
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType},
};

use crate::wire::proto::v1::PublishRequest;

/// A request of a stream, or why it cannot be read. As a message it can always be decoded, for the next one begins behind it
/// whatever it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Streamed {
    /// What was read.
    pub request: Result<PublishRequest, DecodeError>,
    /// How many bytes it has.
    pub bytes: usize,
}

impl From<PublishRequest> for Streamed {
    fn from(request: PublishRequest) -> Self {
        Self { bytes: request.encoded_len(), request: Ok(request) }
    }
}

impl Default for Streamed {
    fn default() -> Self {
        Self::from(PublishRequest::default())
    }
}

impl Message for Streamed {
    fn decode(mut buf: impl Buf) -> Result<Self, DecodeError> {
        let bytes = buf.remaining();
        let request = PublishRequest::decode(&mut buf);
        buf.advance(buf.remaining());
        Ok(Self { request, bytes })
    }

    fn encode_raw(&self, buf: &mut impl BufMut) {
        self.request.iter().for_each(|request| request.encode_raw(buf));
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        let request = self.request.as_mut().map_err(|error| error.clone())?;
        request.merge_field(tag, wire_type, buf, context)?;
        self.bytes = request.encoded_len();
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        self.request.as_ref().map_or(0, Message::encoded_len)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}
