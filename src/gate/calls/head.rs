//! What the head of a gRPC call says besides its method: how large it is, until when the client waits, and how it compresses.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use http::{HeaderMap, Request};
use tokio::time::{Instant, sleep_until};
use tonic::{Status, metadata::MetadataValue};

use crate::{domain::Code, wire::status::grpc_plain};

/// When a call ends by the will of its client. It is among the extensions of the request.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(pub Instant);

impl Deadline {
    /// The deadline of a call that begins now.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get("grpc-timeout")?.to_str().ok()?;
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let number: u32 = number.parse().ok()?;
        let unit = match unit {
            "H" => Duration::from_secs(3_600),
            "M" => Duration::from_secs(60),
            "S" => Duration::from_secs(1),
            "m" => Duration::from_millis(1),
            "u" => Duration::from_micros(1),
            "n" => Duration::from_nanos(1),
            _ => return None,
        };
        Instant::now().checked_add(unit.checked_mul(number)?).map(Self)
    }

    /// Answers what `answering` does, or nothing when its time is over. tonic has a timer of its own, of which it says CANCELLED;
    /// that is set a moment later than this one, and is asked after it.
    pub(super) async fn keep<T>(self, answering: impl Future<Output = T>) -> Option<T> {
        let (mut answering, mut over) = (pin!(answering), pin!(sleep_until(self.0)));
        poll_fn(|cx| match answering.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending if Instant::now() >= self.0 => Poll::Ready(None),
            Poll::Pending => over.as_mut().poll(cx).map(|()| None),
        })
        .await
    }
}

/// The end of a call whose time is over.
pub(super) fn too_late() -> Status {
    grpc_plain(
        Code::Timeout,
        "the deadline of the call is over; what it asked for may have been done: try again under the same idempotency key",
    )
}

/// About how many bytes a head has, as HTTP/2 counts them.
pub(super) fn size<B>(request: &Request<B>) -> usize {
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 32);
    request.uri().path().len() + fields.sum::<usize>()
}

/// What messages may be compressed with.
const ENCODINGS: &str = "gzip,identity";

/// Takes out of a head whether messages are compressed, since they are unpacked before they are read.
pub(super) fn take_is_packed<B>(request: &mut Request<B>) -> Result<bool, Status> {
    let Some(encoding) = request.headers_mut().remove("grpc-encoding") else { return Ok(false) };
    match encoding.as_bytes() {
        b"gzip" => Ok(true),
        b"identity" => {
            // What has the flag of a compressed message all the same is refused by the reader.
            Ok(false)
        }
        _ => {
            let mut status = grpc_plain(Code::Unimplemented, "messages may be compressed with gzip, or not at all");
            status.metadata_mut().insert("grpc-accept-encoding", MetadataValue::from_static(ENCODINGS));
            Err(status)
        }
    }
}
