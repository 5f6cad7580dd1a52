//! Whether a request is a WebSocket handshake (RFC 6455, section 4.2), and the answer to one that is.

use axum::{
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version,
    header::{CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
};
use tungstenite::handshake::derive_accept_key;

use crate::{domain::Code, wire::problem::Problem};

const VERSION: HeaderValue = HeaderValue::from_static("13");
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// Why a request is no handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum HandshakeRefusal {
    #[error("this address speaks WebSocket: the request must ask for an upgrade to it")]
    NoUpgrade,
    #[error("this address speaks version 13 of WebSocket")]
    OtherVersion,
    #[error("a WebSocket handshake needs a Host header")]
    NoHost,
    #[error("Sec-WebSocket-Key must be there once and hold 16 bytes in base64")]
    BadKey,
}

/// The answer that turns the connection of `request` into a WebSocket. Extensions and protocols are none of it.
pub(super) fn accept(request: &Request) -> Result<Response, HandshakeRefusal> {
    let headers = request.headers();
    let upgrades = has_token(headers, &CONNECTION, "upgrade") && has_token(headers, &UPGRADE, "websocket");
    if request.method() != Method::GET || request.version() != Version::HTTP_11 || !upgrades {
        return Err(HandshakeRefusal::NoUpgrade);
    }
    if headers.get(SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
        return Err(HandshakeRefusal::OtherVersion);
    }
    if !headers.contains_key(HOST) {
        return Err(HandshakeRefusal::NoHost);
    }
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter().map(HeaderValue::as_bytes);
    let (Some(key), None) = (keys.next().filter(|key| is_key(key)), keys.next()) else {
        return Err(HandshakeRefusal::BadKey);
    };
    let accept = HeaderValue::try_from(derive_accept_key(key)).expect("base64 is a header value");
    let headers =
        [(CONNECTION, HeaderValue::from_static("Upgrade")), (UPGRADE, WEBSOCKET), (SEC_WEBSOCKET_ACCEPT, accept)];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

/// Whether a header that is a list, over one line or several, has `token` in it.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
}

/// 16 bytes in base64 are 22 characters and the padding. Nobody reads the bytes.
fn is_key(key: &[u8]) -> bool {
    let in_alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.strip_suffix(b"==").is_some_and(|digits| digits.len() == 22 && digits.iter().all(in_alphabet))
}

impl IntoResponse for HandshakeRefusal {
    fn into_response(self) -> Response {
        let detail = self.to_string();
        match self {
            Self::NoHost | Self::BadKey => Problem::new(Code::Malformed, detail).into_response(),
            Self::NoUpgrade | Self::OtherVersion => {
                let problem = Problem::new(Code::UpgradeRequired, detail);
                ([(SEC_WEBSOCKET_VERSION, VERSION), (UPGRADE, WEBSOCKET)], problem).into_response()
            }
        }
    }
}
