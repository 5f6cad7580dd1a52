//! The console page and the browser client, embedded in the binary.

use axum::{
    Router,
    extract::{Path, rejection::PathRejection},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{
    StatusCode,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use rust_embed::RustEmbed;

use crate::wire::problem::Problem;

#[derive(RustEmbed)]
#[folder = "web/"]
struct Web;

/// The page loads nothing from elsewhere and runs no script of its own text.
const POLICY: &str =
    "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'";

pub(super) fn router() -> Router {
    Router::new().route("/console", get(page)).route("/console/", get(page)).route("/console/{file}", get(asset))
}

async fn page() -> Response {
    file("console.html")
}

async fn asset(name: Result<Path<String>, PathRejection>) -> Response {
    // A name that is not text is none of ours.
    file(name.as_deref().map_or("", String::as_str))
}

/// The registry of types knows `.ts` as a video format, and leaves out that texts are UTF-8.
fn content_type(name: &str, guessed: &str) -> String {
    match guessed {
        _ if name.ends_with(".ts") => "text/plain; charset=utf-8".to_owned(),
        text if text.starts_with("text/") => format!("{text}; charset=utf-8"),
        other => other.to_owned(),
    }
}

fn file(name: &str) -> Response {
    let Some(file) = Web::get(name) else { return Problem::http(StatusCode::NOT_FOUND).into_response() };
    let kind = content_type(name, file.metadata.mimetype());
    let headers = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-cache".to_owned()),
        (CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    (headers, file.data).into_response()
}
