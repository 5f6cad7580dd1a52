//! The one extension that is spoken, if the settings say so: `permessage-deflate` (RFC 7692), without context takeover.

use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_EXTENSIONS};

use crate::wire::deflate::WINDOW_BITS;

/// The answer to the first offer of a client that can be taken up, if there is one.
pub(super) fn accept(offered: &HeaderMap) -> Option<HeaderValue> {
    let lines = offered.get_all(SEC_WEBSOCKET_EXTENSIONS).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).find_map(answer)
}

/// The answer to one offer. One with a parameter that is unknown, wrong or there twice is to be declined.
fn answer(offer: &str) -> Option<HeaderValue> {
    let mut parameters = offer.split(';').map(str::trim);
    if parameters.next() != Some("permessage-deflate") {
        return None;
    }
    let mut names = Vec::new();
    for parameter in parameters {
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(value.trim_start().trim_matches('"'))),
            None => (parameter, None),
        };
        let fits = match (name, value) {
            ("server_no_context_takeover" | "client_no_context_takeover" | "client_max_window_bits", None) => true,
            ("client_max_window_bits", Some(bits)) => window_bits(bits).is_some(),
            ("server_max_window_bits", Some(bits)) => window_bits(bits).is_some_and(|bits| bits >= WINDOW_BITS),
            _ => false,
        };
        if !fits || names.contains(&name) {
            return None;
        }
        names.push(name);
    }
    let mut answer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover".to_owned();
    if names.contains(&"server_max_window_bits") {
        answer += &format!("; server_max_window_bits={WINDOW_BITS}");
    }
    HeaderValue::try_from(answer).ok()
}

fn window_bits(text: &str) -> Option<u8> {
    text.parse().ok().filter(|bits| (8..=15).contains(bits) && !text.starts_with(['0', '+']))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    const WITH_BITS: &str =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12";

    #[test]
    fn the_first_offer_that_can_be_taken_up_is() {
        let cases: &[(&[&str], Option<&str>)] = &[
            (&[], None),
            (&["x-nothing"], None),
            (&["permessage-deflate"], Some(PLAIN)),
            // Chromium and Node's ws, Firefox, Python's websockets.
            (&["permessage-deflate; client_max_window_bits"], Some(PLAIN)),
            (&["permessage-deflate;server_no_context_takeover;client_no_context_takeover"], Some(PLAIN)),
            (&["permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"], Some(WITH_BITS)),
            (&["permessage-deflate; server_max_window_bits=\"15\""], Some(WITH_BITS)),
            (&["permessage-deflate; server_max_window_bits=11"], None),
            (&["permessage-deflate; server_max_window_bits=11, permessage-deflate"], Some(PLAIN)),
            (&["x-nothing", "permessage-deflate"], Some(PLAIN)),
            (&["permessage-deflate; server_max_window_bits"], None),
            (&["permessage-deflate; server_max_window_bits=16"], None),
            (&["permessage-deflate; server_max_window_bits=012"], None),
            (&["permessage-deflate; client_max_window_bits=7"], None),
            (&["permessage-deflate; client_no_context_takeover=1"], None),
            (&["permessage-deflate; client_max_window_bits; client_max_window_bits"], None),
            (&["permessage-deflate; x-nothing"], None),
            (&["permessage-deflate;"], None),
        ];
        for (lines, expected) in cases {
            let mut headers = HeaderMap::new();
            for line in *lines {
                headers.append(SEC_WEBSOCKET_EXTENSIONS, line.parse().expect("a header"));
            }
            let answer = accept(&headers);
            assert_eq!(answer.as_ref().map(|answer| answer.to_str().expect("text")), *expected, "{lines:?}");
        }
    }
}
