//! The credentials that a request presents, as they came: nothing is believed of them yet.

use std::{fmt, sync::Arc};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request,
    header::{AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL},
};

use crate::{
    domain::{Certificate, Peer},
    gate::TokenError,
};

/// The WebSocket protocol whose name stands before a token.
pub const BEARER_PROTOCOL: &str = "bearer";

/// The cookie that a page's own backend may put a token into.
const TOKEN_COOKIE: &str = "token";

/// How many such cookies are looked at: a browser sends those of other paths and of whole domains along.
const MAX_COOKIES: usize = 16;

const X_TOKEN: HeaderName = HeaderName::from_static("x-token");

/// Where a request may have a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carriers {
    /// `Authorization: Bearer`, `X-Token` and `?token=`. A request that only reads, as a WebSocket's handshake does, may have one
    /// where a browser can put it, too: in `Sec-WebSocket-Protocol: bearer, <token>` and in a cookie. A cookie comes along
    /// whoever's page makes the request, so none of them lets anybody publish.
    Http,
    /// The metadata `authorization: Bearer`.
    Metadata,
}

/// What a request presents.
#[derive(Clone)]
pub(super) struct Presented {
    /// Its tokens, in the order in which they are tried; or what is wrong with how they came.
    tokens: Result<Vec<Box<str>>, TokenError>,
    /// The certificate that its connection was opened with.
    pub(super) certificate: Option<Arc<Certificate>>,
}

impl fmt::Debug for Presented {
    /// Shows no token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tokens = self.tokens.as_ref().map(Vec::len);
        f.debug_struct("Presented").field("tokens", &tokens).field("certificate", &self.certificate).finish()
    }
}

impl Presented {
    /// Stands for a request that presents nothing.
    pub(super) fn nothing() -> Self {
        Self { tokens: Ok(Vec::new()), certificate: None }
    }

    /// What `request` presents.
    pub(super) fn of<B>(request: &Request<B>, carriers: Carriers) -> Self {
        let certificate = request.extensions().get::<Peer>().and_then(|peer| peer.certificate.clone());
        let query = request.uri().query().filter(|_| carriers == Carriers::Http);
        let mut tokens = tokens(request.method(), query, request.headers(), carriers);
        if let Ok(tokens) = &mut tokens {
            // An empty one is a setting that is not set, or a cookie of somebody who signed out.
            tokens.retain(|token| !token.is_empty());
        }
        Self { tokens, certificate }
    }

    /// The tokens, in the order in which they are tried.
    pub(super) fn tokens(&self) -> Result<&[Box<str>], TokenError> {
        self.tokens.as_deref().map_err(|error| *error)
    }

    /// Whether there is any token.
    pub(super) fn has_tokens(&self) -> bool {
        !self.tokens.as_ref().is_ok_and(Vec::is_empty)
    }
}

fn tokens(
    method: &Method,
    query: Option<&str>,
    headers: &HeaderMap,
    carriers: Carriers,
) -> Result<Vec<Box<str>>, TokenError> {
    let mut tokens = Vec::new();
    // Proxies and services differ in which of several counts, so that one could be checked and the other believed.
    let authorization = only(headers, &AUTHORIZATION).map_err(|()| TokenError::Repeated("Authorization"))?;
    tokens.extend(authorization.and_then(bearer_token));
    if carriers == Carriers::Metadata {
        return Ok(tokens);
    }
    let custom = only(headers, &X_TOKEN).map_err(|()| TokenError::Repeated("X-Token"))?;
    tokens.extend(custom.map(text));
    let reads = method == Method::GET;
    if reads {
        tokens.extend(protocol_token(headers));
    }
    tokens.extend(query.and_then(query_token));
    if reads {
        tokens.extend(cookie_tokens(headers));
    }
    Ok(tokens)
}

/// The header with this name; a fault when there are several.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h HeaderValue>, ()> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(()) } else { Ok(first) }
}

/// What is no text is none of the tokens, but it is presented.
fn text(value: &HeaderValue) -> Box<str> {
    String::from_utf8_lossy(value.as_bytes()).into()
}

fn bearer_token(value: &HeaderValue) -> Option<Box<str>> {
    let text = text(value);
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().into())
}

/// The token behind the word `bearer` in a list of protocols.
fn protocol_token(headers: &HeaderMap) -> Option<Box<str>> {
    let lists = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let mut protocols = lists.flat_map(|list| list.split(',')).map(str::trim);
    protocols.find(|protocol| *protocol == BEARER_PROTOCOL)?;
    protocols.next().map(Into::into)
}

fn query_token(query: &str) -> Option<Box<str>> {
    #[derive(serde::Deserialize)]
    struct Token {
        token: Box<str>,
    }
    serde_urlencoded::from_str::<Token>(query).ok().map(|Token { token }| token)
}

/// The tokens in cookies. Other applications of the same host and its domain may have one of that name as well.
fn cookie_tokens(headers: &HeaderMap) -> impl Iterator<Item = Box<str>> {
    let lists = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let cookies = lists.flat_map(|list| list.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    let tokens = cookies.filter(|(name, _)| *name == TOKEN_COOKIE).map(|(_, token)| unquoted(token).into());
    tokens.take(MAX_COOKIES)
}

/// A cookie's value without the quotation marks that it may stand in (RFC 6265, 4.1.1).
fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tokens of a request.
    fn presented(method: &Method, uri: &str, headers: &[(&str, &str)], carriers: Carriers) -> Vec<String> {
        let request = Request::builder().method(method).uri(uri);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let presented = Presented::of(&request.body(()).expect("a request"), carriers);
        presented.tokens().expect("unambiguous").iter().map(ToString::to_string).collect()
    }

    fn posted(uri: &str, headers: &[(&str, &str)]) -> Vec<String> {
        presented(&Method::POST, uri, headers, Carriers::Http)
    }

    // wire-contract, HTTP: the token comes as `?token=`, as `Authorization: Bearer <token>` or as `X-Token`
    #[test]
    fn the_token_comes_in_one_of_three_ways() {
        for header in [("authorization", "Bearer dev"), ("authorization", "bearer dev"), ("x-token", "dev")] {
            assert_eq!(posted("/notify", &[header]), ["dev"], "{header:?}");
        }
        for value in ["Basic dev", "dev", "Bearer"] {
            assert!(posted("/notify", &[("authorization", value)]).is_empty(), "{value}");
        }
        assert_eq!(posted("/notify?a=b&token=s3cr3t+%C3%B1", &[]), ["s3cr3t ñ"]);
        for (uri, header) in
            [("/x?token=", ("accept", "*/*")), ("/x", ("x-token", "")), ("/x", ("authorization", "Bearer "))]
        {
            assert!(posted(uri, &[header]).is_empty(), "{uri} {header:?}");
        }
        assert!(posted("/notify?other=dev", &[]).is_empty());
        let all = [("authorization", "Bearer a"), ("x-token", "b")];
        assert_eq!(posted("/x?token=c", &all), ["a", "b", "c"]);
    }

    // wire-contract, gRPC: credentials ride in the metadata `authorization: Bearer <token>`
    #[test]
    fn a_call_has_its_token_in_the_metadata_only() {
        let others = [("x-token", "b"), ("cookie", "token=d"), ("sec-websocket-protocol", "bearer, e")];
        for method in [Method::POST, Method::GET] {
            assert!(presented(&method, "/x?token=c", &others, Carriers::Metadata).is_empty());
        }
        let call = presented(&Method::POST, "/x", &[("authorization", "Bearer a")], Carriers::Metadata);
        assert_eq!(call, ["a"]);
    }

    // where a browser can put a token it counts for what only reads, and never for publishing
    #[test]
    fn what_a_browser_sends_by_itself_never_publishes() {
        let ways = [
            ("sec-websocket-protocol", "bearer, dev"),
            ("sec-websocket-protocol", "chat,bearer,dev"),
            ("cookie", "a=b; token=dev"),
            ("cookie", "a=b; token=\"dev\""),
        ];
        for way in ways {
            assert_eq!(presented(&Method::GET, "/ws/x", &[way], Carriers::Http), ["dev"], "{way:?}");
            assert!(posted("/notify", &[way]).is_empty(), "{way:?}");
        }
        let names = [("sec-websocket-protocol", "dev"), ("cookie", "tokens=dev; token")];
        assert!(presented(&Method::GET, "/ws/x", &names, Carriers::Http).is_empty());
    }

    #[test]
    fn every_cookie_of_the_name_is_a_token_but_there_are_not_many() {
        let two = [("cookie", "token=a; x=y; token=\"b\""), ("cookie", "token=c")];
        assert_eq!(presented(&Method::GET, "/ws/x", &two, Carriers::Http), ["a", "b", "c"]);
        let many = "token=a;".repeat(MAX_COOKIES + 1);
        assert_eq!(presented(&Method::GET, "/ws/x", &[("cookie", &many)], Carriers::Http).len(), MAX_COOKIES);
    }

    #[test]
    fn a_header_that_comes_twice_is_a_fault() {
        for (name, shown) in [("authorization", "Authorization"), ("x-token", "X-Token")] {
            let request = Request::builder().header(name, "Bearer a").header(name, "Bearer a").body(()).expect("one");
            let presented = Presented::of(&request, Carriers::Http);
            assert_eq!(presented.tokens().err(), Some(TokenError::Repeated(shown)));
            assert!(presented.has_tokens());
        }
    }

    #[test]
    fn what_is_no_text_is_presented_all_the_same_and_no_token_is_shown() {
        let value = HeaderValue::from_bytes(b"Bearer \xff").expect("a value");
        let request = Request::builder().header("authorization", value).body(()).expect("a request");
        assert_eq!(Presented::of(&request, Carriers::Metadata).tokens().map(<[_]>::len), Ok(1));
        let request = Request::builder().header("x-token", "s3cr3t").body(()).expect("a request");
        assert!(!format!("{:?}", Presented::of(&request, Carriers::Http)).contains("s3cr3t"));
    }
}
