//! How much is left of a limit, in the headers that clients know for it (draft-ietf-httpapi-ratelimit-headers).

use std::{convert::Infallible, time::Duration};

use axum::response::{IntoResponseParts, ResponseParts};
use http::{HeaderMap, HeaderValue};

/// A limit and what is left of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// The limit's name: a word.
    pub policy: &'static str,
    /// How many there may be at once.
    pub count: u32,
    /// In which time that many come back; whole seconds.
    pub window: Duration,
    /// How many may follow now.
    pub left: u32,
}

impl Quota {
    /// Writes `RateLimit-Policy` and `RateLimit`, with the time until there is more, if there must be waited.
    pub(super) fn write(self, wait: Option<Duration>, headers: &mut HeaderMap) {
        let Self { policy, count, window, left } = self;
        let limit = format!("\"{policy}\";q={count};w={}", window.as_secs());
        let reset = wait.map(|wait| format!(";t={}", whole_seconds(wait))).unwrap_or_default();
        for (name, value) in [("ratelimit-policy", limit), ("ratelimit", format!("\"{policy}\";r={left}{reset}"))] {
            headers.insert(name, HeaderValue::try_from(value).expect("words and numbers are a header value"));
        }
    }
}

impl IntoResponseParts for Quota {
    type Error = Infallible;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Infallible> {
        self.write(None, response.headers_mut());
        Ok(response)
    }
}

/// Rounded up, so that whoever waits that long has waited long enough; never 0.
pub(super) fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}
