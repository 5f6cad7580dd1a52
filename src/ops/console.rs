//! The console page and the browser client, embedded in the binary.

use std::borrow::Cow;

use axum::{
    Router,
    extract::{Path, rejection::PathRejection},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{
    HeaderName,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
};
use rust_embed::RustEmbed;

use crate::{domain::Code, wire::problem::Problem};

#[derive(RustEmbed)]
#[folder = "web/"]
struct Web;

/// The page loads nothing from elsewhere, runs no script of its own text, and sends nothing to anybody else. Its own origin is
/// that of its WebSockets, too (Content Security Policy Level 3, 6.7.2.8).
const POLICY: &str = "default-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; \
    frame-ancestors 'none'; base-uri 'none'";

/// No page of another origin that opens this one gets a hold of its window.
const OPENER_POLICY: (HeaderName, &str) = (HeaderName::from_static("cross-origin-opener-policy"), "same-origin");

const PAGE: &str = "console.html";

/// How the page names a file beside it, and how it must where its own address has no slash at the end. A proxy may have put both
/// below a path of its own, so no address is absolute.
const BESIDE: (&str, &str) = ("=\"./", "=\"./console/");

/// The field of the page that takes the publisher's token.
const TOKEN_FIELD: &str = "id=\"token\"";

/// The routes of the page; it fills in `known_token`, which has to be one that everybody knows.
pub(super) fn router(known_token: Option<&'static str>) -> Router {
    Router::new()
        .route("/console", get(async move || page(known_token, true)))
        .route("/console/", get(async move || page(known_token, false)))
        .route("/console/{file}", get(asset))
}

fn page(known_token: Option<&str>, above: bool) -> Response {
    let Some(file) = Web::get(PAGE) else { return Problem::plain(Code::NotFound).into_response() };
    let mut text = String::from_utf8_lossy(&file.data).into_owned();
    if above {
        text = text.replace(BESIDE.0, BESIDE.1);
    }
    if let Some(token) = known_token {
        text = text.replace(TOKEN_FIELD, &format!("{TOKEN_FIELD} value=\"{token}\""));
    }
    answer(PAGE, file.metadata.mimetype(), text.into_bytes().into())
}

async fn asset(name: Result<Path<String>, PathRejection>) -> Response {
    // A name that is not text is none of ours.
    let name = name.as_deref().map_or("", String::as_str);
    let Some(file) = Web::get(name) else { return Problem::plain(Code::NotFound).into_response() };
    let kind = file.metadata.mimetype();
    answer(name, kind, file.data)
}

/// The registry of types knows `.ts` as a video format, and leaves out that texts are UTF-8.
fn content_type(name: &str, guessed: &str) -> String {
    match guessed {
        _ if name.ends_with(".ts") => "text/plain; charset=utf-8".to_owned(),
        text if text.starts_with("text/") => format!("{text}; charset=utf-8"),
        other => other.to_owned(),
    }
}

fn answer(name: &str, guessed: &str, data: Cow<'static, [u8]>) -> Response {
    let headers = [
        (CONTENT_TYPE, content_type(name, guessed)),
        (CACHE_CONTROL, "no-cache".to_owned()),
        (CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (REFERRER_POLICY, "no-referrer".to_owned()),
        (OPENER_POLICY.0, OPENER_POLICY.1.to_owned()),
    ];
    (headers, data).into_response()
}
