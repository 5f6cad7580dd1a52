//! Which pages may speak to the service from a browser.

use std::{str::FromStr, sync::Arc};

use http::{HeaderMap, HeaderValue, header::ORIGIN};

use crate::gate::Error;

/// How much of an origin that is not allowed is repeated.
const SHOWN: usize = 100;

/// The origins of pages that have no address of their own, as browsers write them. They count where they are named.
const WITHOUT_HOST: [&str; 2] = ["null", "file://"];

/// Origins that are allowed: `https://example.com`, `https://*.example.com` for whatever is below it, `null`, or `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginPattern {
    /// Every origin, also `null`.
    Any,
    /// This one.
    Exactly(Box<str>),
    /// Every host below a name: what stands before it, and what behind.
    Below(Box<str>, Box<str>),
}

impl FromStr for OriginPattern {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str =
            "expected an origin as browsers send it, such as https://example.com, https://*.example.com, null or *";
        if text == "*" {
            return Ok(Self::Any);
        }
        let text = normalised(text);
        if WITHOUT_HOST.contains(&&*text) {
            return Ok(Self::Exactly(text.into()));
        }
        let (scheme, authority) = text.split_once("://").ok_or(WRONG)?;
        let below = authority.strip_prefix("*.");
        let (host, port) = split_port(below.unwrap_or(authority));
        let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok());
        if !is_scheme(scheme) || !is_host(host) || !is_port {
            return Err(WRONG);
        }
        Ok(match below {
            Some(name) => Self::Below(format!("{scheme}://").into(), format!(".{name}").into()),
            None => Self::Exactly(text.into()),
        })
    }
}

impl OriginPattern {
    fn matches(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(own) => **own == *origin,
            Self::Below(before, behind) => {
                let host = origin.strip_prefix(&**before).and_then(|rest| rest.strip_suffix(&**behind));
                host.is_some_and(is_host)
            }
        }
    }
}

/// The form in which origins are compared: in small letters, and without the port that the scheme has anyway.
fn normalised(origin: &str) -> String {
    let mut text = origin.to_ascii_lowercase();
    for (scheme, port) in [("http://", ":80"), ("https://", ":443")] {
        if text.starts_with(scheme) && text.ends_with(port) {
            text.truncate(text.len() - port.len());
        }
    }
    text
}

/// RFC 3986, 3.1: extensions of browsers have schemes such as `chrome-extension`.
fn is_scheme(text: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(rest)
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

fn is_host(text: &str) -> bool {
    let ipv6 = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match ipv6 {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)),
    }
}

/// The origins that are allowed; all of them when none was named.
#[derive(Debug, Clone)]
pub struct Origins(Arc<[OriginPattern]>);

impl Origins {
    pub(super) fn new(patterns: &[OriginPattern]) -> Self {
        Self(patterns.into())
    }

    /// Whether every origin is allowed.
    pub fn is_open(&self) -> bool {
        self.0.is_empty() || self.0.contains(&OriginPattern::Any)
    }

    /// Whether pages from `origin` are allowed.
    pub fn allow(&self, origin: &HeaderValue) -> bool {
        let matches = |origin: &str| self.0.iter().any(|pattern| pattern.matches(origin));
        self.is_open() || origin.to_str().is_ok_and(|origin| matches(&normalised(origin)))
    }

    /// Checks the origin of a request that a browser makes on any page's behalf, as a WebSocket's handshake is. What
    /// names no origin is no browser.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Error> {
        let refused = headers.get_all(ORIGIN).iter().find(|origin| !self.allow(origin));
        refused.map_or(Ok(()), |origin| {
            let text = String::from_utf8_lossy(origin.as_bytes());
            Err(Error::Origin(text.chars().take(SHOWN).collect()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(patterns: &[&str], origin: &'static str) -> bool {
        let patterns: Vec<_> = patterns.iter().map(|text| text.parse().expect("a pattern")).collect();
        Origins::new(&patterns).allow(&HeaderValue::from_static(origin))
    }

    #[test]
    fn an_origin_is_allowed_as_it_was_written() {
        let own = ["https://example.com", "http://localhost:8080", "https://[::1]:8443"];
        for origin in ["https://example.com", "HTTPS://Example.com", "http://localhost:8080", "https://[::1]:8443"] {
            assert!(allows(&own, origin), "{origin}");
        }
        for origin in [
            "http://example.com",
            "https://example.com:8443",
            "https://www.example.com",
            "https://example.com.evil.net",
        ] {
            assert!(!allows(&own, origin), "{origin}");
        }
        assert!(!allows(&own, "null") && !allows(&own, ""));
    }

    #[test]
    fn a_star_stands_for_what_is_below_a_name() {
        let below = ["https://*.example.com"];
        for origin in ["https://app.example.com", "https://a.b.example.com"] {
            assert!(allows(&below, origin), "{origin}");
        }
        for origin in [
            "https://example.com",
            "https://.example.com",
            "https://evilexample.com",
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://evil.net/.example.com",
            "https://evil.net:1.example.com",
            "https://app.example.com.evil.net",
        ] {
            assert!(!allows(&below, origin), "{origin}");
        }
        assert!(allows(&["https://*.example.com:8443"], "https://app.example.com:8443"));
        assert!(allows(&["*"], "null") && allows(&[], "https://anything.net"));
    }

    #[test]
    fn extensions_and_pages_without_an_address_are_allowed_by_name() {
        let extension = "chrome-extension://abcdefghijklmnop";
        assert!(allows(&[extension], extension) && !allows(&[extension], "chrome-extension://other"));
        let other = "moz-extension://3c1b2a00-1111-2222-3333-444455556666";
        assert!(allows(&[other], other));
        assert!(allows(&["null"], "null") && allows(&["file://"], "file://"));
        assert!(!allows(&["https://example.com"], "null") && !allows(&["null"], "file://"));
    }

    #[test]
    fn the_port_that_a_scheme_has_anyway_may_be_named() {
        assert!(allows(&["https://example.com:443"], "https://example.com"));
        assert!(allows(&["http://example.com:80"], "http://example.com"));
        assert!(allows(&["https://*.example.com:443"], "https://app.example.com"));
        assert!(!allows(&["https://example.com:80"], "https://example.com"));
        assert!(!allows(&["https://example.com:443"], "http://example.com"));
    }

    #[test]
    fn what_no_browser_sends_is_no_pattern() {
        for text in [
            "",
            "example.com",
            "https://",
            "https://*",
            "https://a*.example.com",
            "https://example.com/",
            "https://example.com/app",
            "https://user@example.com",
            "https://example.com:port",
            "*.example.com",
            "file:///home",
            "1http://example.com",
            "my_scheme://example.com",
        ] {
            assert!(text.parse::<OriginPattern>().is_err(), "{text}");
        }
    }
}
