//! Failures over HTTP: a status and a JSON body `{detail}`, with when to try again.

use std::time::Duration;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{Extensions, HeaderValue, StatusCode, header::RETRY_AFTER};
use serde::Serialize;

use crate::{
    domain::Code,
    wire::{
        messages,
        quota::{Quota, whole_seconds},
        status,
    },
};

/// A failed HTTP request.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    detail: Detail,
    retry_after: Option<Duration>,
    quota: Option<Box<Quota>>,
    /// For the layers that the answer passes on its way out.
    extensions: Extensions,
}

/// A text; or, for fields that are wrong, the list that clients of the original know from FastAPI.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
enum Detail {
    Text(String),
    Fields([FieldFault; 1]),
}

#[derive(Debug, Clone, Serialize)]
struct FieldFault {
    r#type: &'static str,
    loc: Vec<String>,
    msg: String,
}

#[derive(Serialize)]
struct Body<'a> {
    detail: &'a Detail,
}

impl Problem {
    /// A failure with its text.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            status: status::http_status(code),
            detail: Detail::Text(detail.into()),
            retry_after: status::retry_after(code),
            quota: None,
            extensions: Extensions::new(),
        }
    }

    /// A failure of which HTTP itself says all that there is to say, such as 404 or 405.
    pub fn plain(code: Code) -> Self {
        Self::new(code, status::http_status(code).canonical_reason().unwrap_or("Error"))
    }

    /// Adds `Retry-After`: the client is asked to come back after this time.
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Adds the limit that was met.
    pub fn with_quota(mut self, quota: Option<Quota>) -> Self {
        self.quota = quota.map(Box::new);
        self
    }

    /// The same with something for the layers that the answer passes on its way out.
    pub fn with_extension(mut self, extension: impl Clone + Send + Sync + 'static) -> Self {
        self.extensions.insert(extension);
        self
    }

    /// A field at `path` below `place` (`body`, `query`, `path`) is wrong.
    pub fn field(place: &str, path: &str, kind: &'static str, message: impl Into<String>) -> Self {
        let loc = [place].into_iter().chain(path.split('.').filter(|part| !part.is_empty()));
        let loc = loc.map(str::to_owned).collect();
        Self {
            status: status::http_status(Code::Invalid),
            detail: Detail::Fields([FieldFault { r#type: kind, loc, msg: message.into() }]),
            retry_after: None,
            quota: None,
            extensions: Extensions::new(),
        }
    }

    /// The token is missing or wrong.
    pub fn bad_token() -> Self {
        Self::new(Code::Unauthenticated, messages::BAD_TOKEN)
    }
}

/// The whole answer of HTTP/1.1 to a client that is hung up on before it could ask for anything.
pub fn parting(code: Code, detail: &str) -> Bytes {
    let status = status::http_status(code);
    let retry_after = status::retry_after(code).map(|wait| format!("{RETRY_AFTER}: {}\r\n", whole_seconds(wait)));
    let body =
        serde_json::to_string(&Body { detail: &Detail::Text(detail.to_owned()) }).expect("a text has a JSON form");
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        retry_after.unwrap_or_default(),
        body.len(),
    );
    answer.into()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(Body { detail: &self.detail })).into_response();
        if let Some(wait) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        if let Some(quota) = self.quota {
            quota.write(self.retry_after, response.headers_mut());
        }
        response.extensions_mut().extend(self.extensions);
        if self.status == status::http_status(Code::Unauthenticated) {
            let challenge = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(http::header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parting_is_a_whole_answer() {
        assert_eq!(
            parting(Code::Unavailable, "too many connections; try again later"),
            "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n\
             content-length: 50\r\nconnection: close\r\n\r\n{\"detail\":\"too many connections; try again later\"}"
        );
        assert_eq!(
            parting(Code::Malformed, "this port speaks TLS: use https:// or wss://"),
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: 57\r\n\
             connection: close\r\n\r\n{\"detail\":\"this port speaks TLS: use https:// or wss://\"}"
        );
    }
}
