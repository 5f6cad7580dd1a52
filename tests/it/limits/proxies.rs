//! Where a request comes from: who may say so, and what is believed of it.

use exposia_notifications::wire::proto::v1::GetHistoryRequest;
use ipnet::IpNet;
use tonic::{Code, Request};

use super::{once, publish};
use crate::{gate::guarded_with, support::TestApp};

/// A server on which the address that `header` names, if it is believed, has sent too many wrong tokens.
async fn after_failures_of(trusted: &[&str], header: (&str, &str)) -> TestApp {
    let app = guarded_with(|config| {
        config.gate.auth_failure_rate = once();
        config.gate.trusted_proxies = trusted.iter().map(|text| text.parse::<IpNet>().expect("a network")).collect();
    })
    .await;
    publish(&app, "wrong", &[header]).await.refused(401);
    publish(&app, "wrong", &[header]).await.refused(429);
    app
}

const PROXY: &[&str] = &["127.0.0.0/8", "10.0.0.0/8"];
const XFF: &str = "x-forwarded-for";

// behind a trusted proxy the rightmost address that is none counts, in either header; what is malformed is not believed
#[tokio::test]
async fn a_trusted_proxy_says_whose_request_it_is() {
    let table: &[(&[(&str, &str)], u16)] = &[
        (&[(XFF, "192.0.2.1")], 429),
        (&[(XFF, "192.0.2.1:4711")], 429),
        (&[(XFF, "203.0.113.9, 192.0.2.1")], 429),
        (&[(XFF, "192.0.2.1, 10.0.0.7")], 429),
        (&[("forwarded", "for=203.0.113.9, for=\"192.0.2.1:80\";proto=https")], 429),
        (&[(XFF, "192.0.2.1"), ("forwarded", "for=192.0.2.1")], 429),
        (&[(XFF, "192.0.2.2")], 401),
        (&[(XFF, "192.0.2.1, 192.0.2.2")], 401),
        (&[(XFF, "192.0.2.1"), ("forwarded", "for=203.0.113.9")], 401),
        (&[(XFF, "192.0.2.1, unknown")], 401),
        (&[(XFF, "192.0.2.1.5")], 401),
        (&[(XFF, "")], 401),
        (&[("forwarded", "for=_hidden")], 401),
        (&[("forwarded", "192.0.2.1")], 401),
        (&[], 401),
    ];
    for (headers, status) in table {
        let app = after_failures_of(PROXY, (XFF, "192.0.2.1")).await;
        assert_eq!(publish(&app, "wrong", headers).await.status, *status, "{headers:?}");
    }
}

// gRPC goes by the same rules
#[tokio::test]
async fn a_trusted_proxy_says_whose_call_it_is() {
    for (address, code) in [("192.0.2.1", Code::ResourceExhausted), ("192.0.2.2", Code::Unauthenticated)] {
        let app = after_failures_of(PROXY, (XFF, "192.0.2.1")).await;
        let mut request = Request::new(GetHistoryRequest::default());
        request.metadata_mut().insert(XFF, address.parse().expect("a value"));
        let outcome = app.grpc_with(Some("wrong")).await.get_history(request).await;
        assert_eq!(outcome.map_or_else(|status| status.code(), |_| Code::Ok), code, "{address}");
    }
}

// from anybody else the headers mean nothing: neither do they put the blame on others, nor take it from oneself
#[tokio::test]
async fn nobody_else_says_where_it_is() {
    for trusted in [&[][..], &["10.0.0.0/8"]] {
        let app = after_failures_of(trusted, (XFF, "192.0.2.1")).await;
        for headers in [&[(XFF, "192.0.2.2")][..], &[("forwarded", "for=192.0.2.2")], &[]] {
            publish(&app, "wrong", headers).await.refused(429);
        }
    }
}

// with IPv6 a whole /64 counts as one
#[tokio::test]
async fn ipv6_is_counted_by_its_64() {
    let app = after_failures_of(PROXY, (XFF, "2001:db8:1:2::1")).await;
    publish(&app, "wrong", &[(XFF, "2001:db8:1:2:ffff::9")]).await.refused(429);
    publish(&app, "wrong", &[(XFF, "2001:db8:1:3::1")]).await.refused(401);
}
