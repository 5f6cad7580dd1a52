//! Failures over HTTP: a status and a JSON body `{detail}`, with when to try again.

use std::time::Duration;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{Extensions, HeaderValue, StatusCode, header::RETRY_AFTER};
use serde::Serialize;

use crate::{
    domain::Code,
    wire::{
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

    /// A failure with a status of HTTP itself, such as 404 or 405.
    pub fn http(status: StatusCode) -> Self {
        let detail = status.canonical_reason().unwrap_or("Error").to_owned();
        Self { status, detail: Detail::Text(detail), retry_after: None, quota: None, extensions: Extensions::new() }
    }

    /// The same with another text.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Detail::Text(detail.into());
        self
    }

    /// The same, asking the client to come back after this time.
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The same, naming the limit that was met.
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
        Self::new(Code::Unauthenticated, "Token inválido")
    }
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
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(http::header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
