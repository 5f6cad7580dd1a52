//! Whoever asks for the statistics gets a part that fits, however many are connected, and can go on behind it.

use exposia_notifications::{
    config::Config,
    wire::proto::v1::{GetStatsRequest, GetStatsResponse},
};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tonic::Code;
use tonic_types::StatusExt;

use crate::support::{TOKEN, TestApp};

/// Lets clients with these addresses in, and gives their connections when all of them are there.
async fn connect(app: &TestApp, addresses: impl Iterator<Item = String>) -> Vec<TcpStream> {
    // Many systems give a process no more than a thousand open files at first.
    rlimit::increase_nofile_limit(u64::MAX).expect("more open files");
    let mut sockets = Vec::new();
    for address in addresses {
        let mut socket = TcpStream::connect(app.http()).await.expect("a connection");
        let head = format!(
            "GET /ws/{address} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.expect("a head");
        sockets.push(socket);
    }
    app.until_connected(sockets.len()).await;
    sockets
}

/// Nobody is told of the others: that would be most of the work.
fn without_notices(config: &mut Config) {
    config.egress.presence_limit = 0;
}

fn ids(page: &Value) -> Vec<&str> {
    let clients = page["clients"].as_array().expect("a list");
    clients.iter().map(|client| client["client_id"].as_str().expect("a name")).collect()
}

/// A page over gRPC, for a client that takes messages of up to the usual 4 MiB.
async fn page(app: &TestApp, limit: u32, after: &str) -> GetStatsResponse {
    let request = GetStatsRequest { limit, after: after.to_owned() };
    app.grpc_with(Some(TOKEN)).await.get_stats(request).await.expect("a page").into_inner()
}

#[tokio::test]
async fn clients_come_in_pages_and_all_of_them_count() {
    let app = TestApp::start_with(without_notices).await;
    let names = ["ana", "bea", "eva", "luz", "ñusta"];
    let _sockets = connect(&app, names.iter().map(|name| format!("{name}?room=a").replace('ñ', "%C3%B1"))).await;
    for (query, expected, more) in [
        ("", &names[..], false),
        ("?limit=5", &names[..], false),
        ("?limit=2", &names[..2], true),
        ("?limit=2&after=bea", &names[2..4], true),
        ("?limit=2&after=luz", &names[4..], false),
        // Who was the last one may have gone meanwhile.
        ("?limit=2&after=carla", &names[2..4], true),
        ("?after=%C3%B1usta", &[], false),
        ("?after=", &names[..], false),
    ] {
        let stats = app.get(&format!("/stats{query}")).await.json();
        assert_eq!((ids(&stats), &stats["clients_truncated"]), (expected.to_vec(), &json!(more)), "{query}");
        assert_eq!(
            (&stats["total_connections"], &stats["rooms"]),
            (&json!(5), &json!({ "a": 5, "general": 0 })),
            "{query}"
        );
    }
    for (limit, after, expected, more) in [(0, "", &names[..], false), (2, "bea", &names[2..4], true)] {
        let stats = page(&app, limit, after).await;
        let ids: Vec<_> = stats.clients.iter().map(|client| &*client.client_id).collect();
        assert_eq!((&ids[..], stats.clients_truncated, stats.total_connections), (expected, more, 5));
        assert_eq!((stats.rooms["a"], stats.rooms_truncated), (5, false));
    }
}

#[tokio::test]
async fn a_page_that_cannot_be_is_refused() {
    let app = TestApp::start().await;
    let long = "x".repeat(129);
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=many", "limit"),
        ("limit=", "limit"),
        (&*format!("after={long}"), "after"),
    ] {
        let detail = app.get(&format!("/stats?{query}")).await.refused(422);
        assert_eq!(detail[0]["loc"], json!(["query", field]), "{query}");
    }
    let mut grpc = app.grpc().await;
    for (limit, after, field) in [(1_001, "", "limit"), (u32::MAX, "", "limit"), (1, &*long, "after")] {
        let request = GetStatsRequest { limit, after: after.to_owned() };
        let refused = grpc.get_stats(request).await.expect_err("no such page");
        assert_eq!(refused.code(), Code::InvalidArgument);
        let violations = refused.get_details_bad_request().expect("details").field_violations;
        assert_eq!(violations[0].field, field);
    }
}

#[tokio::test]
async fn without_a_limit_a_page_has_a_thousand() {
    let app = TestApp::start_with(without_notices).await;
    let rooms = |number| if number == 0 { "general".to_owned() } else { format!("a{number:04}") };
    let _sockets = connect(&app, (0..1_003).map(|number| format!("c{number:04}?room={}", rooms(number)))).await;
    let first = app.stats().await;
    assert_eq!((ids(&first).len(), ids(&first)[999]), (1_000, "c0999"));
    let rooms = first["rooms"].as_object().expect("an object");
    assert_eq!((rooms.len(), &rooms["general"], rooms.contains_key("a0999")), (1_000, &json!(1), true));
    assert_eq!((&first["clients_truncated"], &first["rooms_truncated"]), (&json!(true), &json!(true)));
    assert_eq!(first["total_connections"], 1_003);
    let last = app.get("/stats?after=c0999").await.json();
    assert_eq!((ids(&last), &last["clients_truncated"]), (vec!["c1000", "c1001", "c1002"], &json!(false)));
}

// a client of gRPC with the usual limit of 4 MiB gets its page, however long the names of the rooms are
#[tokio::test]
async fn a_page_fits_into_a_message() {
    const CLIENTS: usize = 540;
    let app = TestApp::start_with(without_notices).await;
    let room = |number, room| format!("{number:03}-{room:02}-{}", "x".repeat(121));
    let rooms = |number| (1..64).map(|place| room(number, place)).collect::<Vec<_>>().join(",");
    let addresses = (0..CLIENTS).map(|number| format!("c{number:03}?room={}&rooms={}", room(number, 0), rooms(number)));
    let _sockets = connect(&app, addresses).await;
    let (mut names, mut pages) = (Vec::new(), 0);
    loop {
        let stats = page(&app, 0, names.last().map_or("", String::as_str)).await;
        assert_eq!((stats.rooms.len(), stats.rooms_truncated), (1_000, true));
        assert!(stats.clients.iter().all(|client| client.rooms.len() == 64));
        names.extend(stats.clients.into_iter().map(|client| client.client_id));
        pages += 1;
        if !stats.clients_truncated {
            break;
        }
    }
    let all: Vec<_> = (0..CLIENTS).map(|number| format!("c{number:03}")).collect();
    assert_eq!((names, pages > 1), (all, true));
    assert_eq!(app.stats().await["clients_truncated"], true);
}
