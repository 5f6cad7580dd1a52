//! What is no call at all: a request of another protocol that came to the port of gRPC.

use http::{
    HeaderMap, Method, Request, Response,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
};
use tonic::body::Body;

use crate::{domain::Code, wire::status::http_status};

/// What the content type of a call is, or begins with.
const GRPC: &str = "application/grpc";

/// The answer to a request that is no call.
pub(super) fn refusal<B>(request: &Request<B>) -> Option<Response<Body>> {
    if request.method() != Method::POST {
        let mut response = answer(Code::NotAllowed, "this port speaks gRPC: calls are POST requests\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return Some(response);
    }
    let text = "this port speaks gRPC: send the content type application/grpc\n";
    (!is_grpc(request.headers())).then(|| answer(Code::Unsupported, text))
}

/// Whether the content type is `application/grpc`, `application/grpc+proto` or the like.
fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let Some((kind, rest)) = value.split_at_checked(GRPC.len()) else { return false };
    kind.eq_ignore_ascii_case(GRPC) && (rest.is_empty() || rest.starts_with(['+', ';', ' ']))
}

fn answer(code: Code, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::new(text.to_owned()));
    *response.status_mut() = http_status(code);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_told_by_its_content_type() {
        let is_grpc = |text: &'static str| {
            let headers = [(CONTENT_TYPE, HeaderValue::from_static(text))];
            super::is_grpc(&headers.into_iter().collect())
        };
        for text in ["application/grpc", "application/grpc+proto", "Application/gRPC", "application/grpc; x=y"] {
            assert!(is_grpc(text), "{text}");
        }
        for text in ["", "application/json", "application/grpc-web+proto", "application/grpcs", "application/grp"] {
            assert!(!is_grpc(text), "{text}");
        }
        assert!(!super::is_grpc(&HeaderMap::new()));
    }
}
