//! Answers that may be large: their bytes are counted from when they are made until the transport has taken them, so that
//! those who ask and never read do not fill the memory.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use hyper::body::{Body as _, Frame, SizeHint};

use crate::gate::{Caller, Charge, Error};

/// An answer of fewer bytes than this is not counted: connections and their buffers are bounded already.
const COUNTED: usize = 16 * 1024;

impl Caller {
    /// The answer to a request over HTTP, counted while it is not taken. There is none when too much is unread already.
    pub fn counted(&self, answer: impl IntoResponse) -> Result<Response, Error> {
        let response = answer.into_response();
        let size = usize::try_from(response.body().size_hint().lower()).unwrap_or(usize::MAX);
        let Some(charge) = self.charge_answer(size)? else { return Ok(response) };
        Ok(response.map(|body| Body::new(Counted { body, charge })))
    }

    /// What `size` bytes of an answer hold of the budget; nothing, if they are few.
    pub(super) fn charge_answer(&self, size: usize) -> Result<Option<Arc<Charge>>, Error> {
        if size < COUNTED {
            return Ok(None);
        }
        let mut charge = self.charge();
        charge.set(size)?;
        Ok(Some(Arc::new(charge)))
    }
}

/// A body whose bytes are counted.
struct Counted {
    body: Body,
    charge: Arc<Charge>,
}

impl hyper::body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        frame.map_ok(|frame| frame.map_data(|bytes| held(bytes, Arc::clone(&self.charge))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The same bytes, with something that is dropped when the transport has taken them.
pub(super) fn held<T: Send + 'static>(bytes: Bytes, until_gone: T) -> Bytes {
    struct Held<T>(Bytes, #[allow(dead_code, reason = "it is held until the bytes are gone")] T);
    impl<T> AsRef<[u8]> for Held<T> {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    Bytes::from_owner(Held(bytes, until_gone))
}
