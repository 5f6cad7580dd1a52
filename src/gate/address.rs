//! Where a request comes from, seen through the proxies in front.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName, Request, header::FORWARDED};
use ipnet::IpNet;

use crate::domain::Peer;
pub(super) use crate::domain::counted;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The proxies whose word about the addresses of their clients is believed.
#[derive(Debug, Clone)]
pub(super) struct Proxies(Box<[IpNet]>);

impl Proxies {
    pub(super) fn new(networks: &[IpNet]) -> Self {
        Self(networks.into())
    }

    /// The address of whoever sent `request`; the unspecified one when it came over no socket.
    pub(super) fn client<B>(&self, request: &Request<B>) -> IpAddr {
        let peer = request.extensions().get::<Peer>();
        let peer = peer.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.address.ip().to_canonical());
        self.behind(peer, request.headers())
    }

    /// The address behind `peer`.
    ///
    /// Each proxy adds at the right end whom it heard from. So the rightmost address that is not a trusted proxy's is
    /// the last to be believed: what is left of it, its sender may have made up. A proxy writes one of the two headers
    /// and may pass the other one on as it came; when they disagree, one of them is made up, and neither is believed.
    fn behind(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.trusts(peer) {
            return peer;
        }
        let forwarded = self.last_believed(headers, &FORWARDED, forwarded_for);
        let x_forwarded_for = self.last_believed(headers, &X_FORWARDED_FOR, |hop| Some(hop));
        match (forwarded, x_forwarded_for) {
            (Some(one), Some(other)) if one != other => peer,
            (Some(address), _) | (None, Some(address)) => address,
            (None, None) => peer,
        }
    }

    /// Whether the proxy at `address` is believed.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The last address, from the right, that the proxies vouch for. Lists are split at every comma, quoted or not: a
    /// quote that a client left open must not swallow what the proxy wrote behind it.
    fn last_believed(
        &self,
        headers: &HeaderMap,
        name: &HeaderName,
        node: impl Fn(&str) -> Option<&str>,
    ) -> Option<IpAddr> {
        let lines = headers.get_all(name).iter().rev();
        let hops = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
        let mut believed = None;
        for address in hops.map_while(|hop| node(hop.trim()).and_then(parse)) {
            believed = Some(address);
            if !self.trusts(address) {
                break;
            }
        }
        believed
    }
}

/// The node in an element such as `for="[2001:db8::1]:4711";proto=https` (RFC 7239, section 4).
fn forwarded_for(element: &str) -> Option<&str> {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let mut nodes = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for")).map(|(_, node)| node.trim());
    nodes.next().map(|node| node.trim_matches('"'))
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`; none for `unknown` and the like.
fn parse(node: &str) -> Option<IpAddr> {
    let bare = || node.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || node.parse().ok().map(|address: SocketAddr| address.ip());
    node.parse().ok().or_else(bare).or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

/// Reads `10.0.0.0/8`, `fd00::/8`, or a single address.
pub(super) fn parse_network(text: &str) -> Result<IpNet, String> {
    let network = text.parse().ok().or_else(|| text.parse().ok().map(|address: IpAddr| IpNet::from(address)));
    network.ok_or_else(|| "expected a network such as 10.0.0.0/8 or fd00::/8, or an address".to_owned())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// Whom a request from `peer` with these headers comes from, when 10.0.0.0/8 and fd00::/8 are trusted.
    fn client(peer: &str, headers: &[(&'static str, &'static str)]) -> String {
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|network| parse_network(network).expect("a network"));
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .fold(HeaderMap::new(), |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            });
        Proxies::new(&networks).behind(peer.parse().expect("an address"), &headers).to_string()
    }

    #[test]
    fn the_rightmost_address_that_is_no_proxy_counts() {
        let xff = |value| client("10.0.0.1", &[("x-forwarded-for", value)]);
        assert_eq!(xff("192.0.2.1"), "192.0.2.1");
        assert_eq!(xff("203.0.113.9, 192.0.2.1, 10.9.9.9"), "192.0.2.1", "what is left of it may be made up");
        assert_eq!(xff("10.3.3.3, 10.9.9.9"), "10.3.3.3", "a client inside");
        let lines = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(client("10.0.0.1", &lines), "192.0.2.1", "the lines of a header are one list");
    }

    #[test]
    fn whoever_is_no_proxy_speaks_for_itself() {
        for header in [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.1")] {
            assert_eq!(client("198.51.100.1", &[header]), "198.51.100.1");
        }
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn every_form_of_an_address_is_read() {
        for (value, expected) in [
            ("192.0.2.1:4711", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(client("fd00::1", &[("x-forwarded-for", value)]), expected);
        }
        for value in [
            "for=192.0.2.1",
            "For=\"192.0.2.1:4711\";proto=https;by=10.0.0.1",
            "for=203.0.113.9, proto=http;for=192.0.2.1",
            "for=\"203.0.113.9, for=192.0.2.1",
        ] {
            assert_eq!(client("10.0.0.1", &[("forwarded", value)]), "192.0.2.1", "{value}");
        }
        assert_eq!(client("10.0.0.1", &[("forwarded", "for=\"[2001:db8::1]:80\"")]), "2001:db8::1");
    }

    // what cannot be read ends the chain: the proxy that passed it on is the last that is known
    #[test]
    fn what_is_malformed_is_not_believed() {
        for value in ["", ",", "unknown", "192.0.2", "192.0.2.1, ", "192.0.2.1, _hidden", "1.2.3.4.5", "[::1"] {
            assert_eq!(client("10.0.0.1", &[("x-forwarded-for", value)]), "10.0.0.1", "{value}");
        }
        assert_eq!(client("10.0.0.1", &[("x-forwarded-for", "192.0.2.1, unknown, 10.2.2.2")]), "10.2.2.2");
        for value in ["for", "for=", "proto=https", "192.0.2.1", "for=unknown"] {
            assert_eq!(client("10.0.0.1", &[("forwarded", value)]), "10.0.0.1", "{value}");
        }
    }

    // a proxy that writes X-Forwarded-For passes a Forwarded of the client's own on, and the other way round
    #[test]
    fn headers_that_disagree_are_not_believed() {
        let both = |forwarded| client("10.0.0.1", &[("forwarded", forwarded), ("x-forwarded-for", "192.0.2.1")]);
        assert_eq!(both("for=192.0.2.1"), "192.0.2.1");
        assert_eq!(both("for=203.0.113.9"), "10.0.0.1");
    }
}
