//! Who may do what, by which transport: one table, and every cell of it against the real server.

use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use exposia_notifications::{
    clock::Manual,
    wire::proto::v1::{
        DisconnectRequest, ExplainRouteRequest, GetHistoryRequest, GetStatsRequest, PublishRequest, RevokeUserRequest,
        SubscribeRequest, Target,
    },
};
use jsonwebtoken::{Algorithm, EncodingKey};
use reqwest::Method;
use serde_json::json;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;

use super::{ask_late, guarded_by, mint, mint_with};
use crate::support::{Answer, Call, Client, TOKEN, TestApp, framed, open_with};

/// What comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    /// 401, UNAUTHENTICATED.
    Unknown,
    /// 403, PERMISSION_DENIED, an `error` on a WebSocket.
    Forbidden,
    /// 409.
    Taken,
}

#[derive(Debug, Clone, Copy)]
enum Transport {
    Rest,
    Grpc,
    WebSocket,
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Publish(&'static str),
    /// Opens a stream that publishes.
    OpenStream,
    /// Publishes in two pieces.
    PublishInPieces,
    /// Publishes for one audience.
    PublishFor(&'static str),
    /// Asks for the health of the service.
    Health,
    /// Asks which services there are.
    Reflect,
    Revoke,
    Disconnect,
    Explain,
    Stats,
    HistoryOfRoom(&'static str),
    HistoryOfUser(&'static str),
    HistoryOfAll,
    Follow(&'static str),
    FollowUser(&'static str),
    FollowAll,
    /// Joins and subscribes on a connection that is open already.
    Move(&'static str),
    /// The same after the token expired.
    MoveLate(&'static str),
    /// Connects under a client id that the user ana holds.
    TakeOver,
}

use Action::{
    Disconnect, Explain, Follow, FollowAll, FollowUser, Health, HistoryOfAll, HistoryOfRoom, HistoryOfUser, Move,
    MoveLate, OpenStream, Publish, PublishFor, PublishInPieces, Reflect, Revoke, Stats, TakeOver,
};
use Transport::{Grpc, Rest, WebSocket};

/// The credentials, in the order of the table's columns.
fn credentials() -> [(&'static str, Option<String>); 11] {
    let other_key = EncodingKey::from_secret(b"the secret of somebody else altogether");
    let ana = json!({ "sub": "ana" });
    let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbmEiLCJleHAiOjk5OTk5OTk5OTl9.";
    [
        ("none", None),
        ("not a token", Some("wrong".to_owned())),
        ("expired", Some(mint(json!({ "sub": "ana", "exp": 1_000_000_000 })))),
        ("alg none", Some(unsigned.to_owned())),
        ("another's key", Some(mint_with(Algorithm::HS256, &other_key, ana.clone()))),
        ("static token", Some(TOKEN.to_owned())),
        ("subscriber", Some(mint(ana))),
        ("with rooms", Some(mint(json!({ "sub": "ana", "rooms": ["general", "sala_*", "user_luis"] })))),
        ("publisher", Some(mint(json!({ "sub": "php", "publish": ["presentacion.*"] })))),
        ("limited", Some(mint(json!({ "sub": "php", "publish": ["*"], "audiences": ["room:general", "user:*"] })))),
        ("admin", Some(mint(json!({ "sub": "root", "admin": true, "rooms": ["*"] })))),
    ]
}

/// `.` done, `u` unknown, `f` forbidden, `t` taken; the columns are those of [`credentials`]:
/// none, not a token, expired, alg none, another's key | static token, subscriber, with rooms, publisher, limited, admin.
const TABLE: &[(Action, &[Transport], &str)] = &[
    (Publish("presentacion.x"), &[Rest, Grpc], "uuuuu .ff..f"),
    (Publish("otra.x"), &[Rest, Grpc], "uuuuu .fff.f"),
    (OpenStream, &[Grpc], "uuuuu .ff..f"),
    (PublishInPieces, &[Grpc], "uuuuu .ff..f"),
    (PublishFor("general"), &[Rest, Grpc], "uuuuu .fff.f"),
    (PublishFor("tema_1"), &[Rest, Grpc], "uuuuu .fffff"),
    (Health, &[Rest, Grpc], "..... ......"),
    (Reflect, &[Grpc], "uuuuu ......"),
    (Revoke, &[Grpc], "uuuuu .ffff."),
    (Disconnect, &[Grpc], "uuuuu .ffff."),
    (Explain, &[Rest, Grpc], "uuuuu .ff..f"),
    (Stats, &[Rest, Grpc], "uuuuu .ff..f"),
    (HistoryOfRoom("general"), &[Rest, Grpc], "uuuuu ......"),
    (HistoryOfRoom("tema_7"), &[Rest, Grpc], "uuuuu ..f..."),
    (HistoryOfRoom("sala_1"), &[Rest, Grpc], "uuuuu .f.ff."),
    (HistoryOfRoom("admin"), &[Rest, Grpc], "uuuuu .ffff."),
    (HistoryOfUser("ana"), &[Rest, Grpc], "uuuuu ...ff."),
    (HistoryOfUser("luis"), &[Rest, Grpc], "uuuuu .f.ff."),
    (HistoryOfAll, &[Rest, Grpc], "uuuuu .ffff."),
    (Follow("general"), &[WebSocket, Grpc], "uuuuu ......"),
    (Follow("tema_7"), &[WebSocket, Grpc], "uuuuu ..f..."),
    (Follow("sala_1"), &[WebSocket, Grpc], "uuuuu .f.ff."),
    (Follow("admin"), &[WebSocket, Grpc], "uuuuu .ffff."),
    (Follow("user_ana"), &[WebSocket, Grpc], "uuuuu ...ff."),
    (Follow("user_luis"), &[WebSocket, Grpc], "uuuuu .f.ff."),
    (FollowUser("ana"), &[Grpc], "uuuuu ...ff."),
    (FollowUser("luis"), &[Grpc], "uuuuu .f.ff."),
    // On a WebSocket one follows as a user that one is, not one that one may hear.
    (FollowUser("ana"), &[WebSocket], "uuuuu ...fff"),
    (FollowUser("luis"), &[WebSocket], "uuuuu .fffff"),
    (FollowAll, &[Grpc], "uuuuu .ffff."),
    (Move("tema_7"), &[WebSocket], "uuuuu ..f..."),
    (Move("sala_1"), &[WebSocket], "uuuuu .f.ff."),
    (Move("admin"), &[WebSocket], "uuuuu .ffff."),
    (Move("user_ana"), &[WebSocket], "uuuuu ...ff."),
    (Move("user_luis"), &[WebSocket], "uuuuu .f.ff."),
    // A static token does not expire.
    (MoveLate("general"), &[WebSocket], "uuuuu .fffff"),
    (MoveLate("tema_7"), &[WebSocket], "uuuuu .fffff"),
    (TakeOver, &[WebSocket], "uuuuu t..ttt"),
];

// credential × transport × action × expected answer, every cell against the real server
#[tokio::test]
async fn everybody_may_do_what_the_table_says_and_nothing_else() {
    let clock = Arc::new(Manual::new(Utc::now()));
    let app = guarded_by(Arc::clone(&clock) as _, |_| {}).await;
    let mut faults = Vec::new();
    for (action, transports, row) in TABLE {
        let row: Vec<char> = row.chars().filter(|cell| *cell != ' ').collect();
        let credentials = credentials();
        assert_eq!(row.len(), credentials.len(), "{action:?}");
        for transport in *transports {
            for ((name, token), cell) in credentials.iter().zip(&row) {
                let expected = match cell {
                    '.' => Outcome::Done,
                    'u' => Outcome::Unknown,
                    'f' => Outcome::Forbidden,
                    't' => Outcome::Taken,
                    other => panic!("no outcome: {other}"),
                };
                let outcome = attempt((&app, &clock), *transport, *action, token.as_deref()).await;
                if outcome != expected {
                    faults.push(format!("{name}, {action:?} over {transport:?}: {outcome:?}, not {expected:?}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

async fn attempt(
    (app, clock): (&TestApp, &Manual),
    transport: Transport,
    action: Action,
    token: Option<&str>,
) -> Outcome {
    match transport {
        Rest => over_rest(app, action, token).await,
        Grpc => over_grpc(app, action, token).await,
        WebSocket => over_websocket((app, clock), action, token).await,
    }
}

async fn over_rest(app: &TestApp, action: Action, token: Option<&str>) -> Outcome {
    let body = |event| json!({ "event": event, "payload": {} }).to_string();
    let request = match action {
        Publish(event) => app.request(Method::POST, "/notify").body(body(event)),
        PublishFor(room) => {
            let body = json!({ "event": "otra.x", "payload": {}, "target": { "rooms": [room] } });
            app.request(Method::POST, "/notify").body(body.to_string())
        }
        Explain => app.request(Method::POST, "/routes/explain").body(body("x")),
        Stats => app.request(Method::GET, "/stats"),
        Health => app.request(Method::GET, "/health"),
        HistoryOfRoom(room) => app.request(Method::GET, &format!("/history?room={room}")),
        HistoryOfUser(user) => app.request(Method::GET, &format!("/history?user_id={user}")),
        HistoryOfAll => app.request(Method::GET, "/history"),
        other => panic!("not over REST: {other:?}"),
    };
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    of_status(Answer::to(request).await.status)
}

fn of_status(status: u16) -> Outcome {
    match status {
        101 | 200 => Outcome::Done,
        401 => Outcome::Unknown,
        403 => Outcome::Forbidden,
        409 => Outcome::Taken,
        other => panic!("status {other}"),
    }
}

async fn over_grpc(app: &TestApp, action: Action, token: Option<&str>) -> Outcome {
    let mut client = app.grpc_with(token).await;
    let text = str::to_owned;
    let history = |users: &[&str], rooms: &[&str]| GetHistoryRequest {
        audience: Some(Target {
            users: users.iter().map(ToString::to_string).collect(),
            rooms: rooms.iter().map(ToString::to_string).collect(),
            everyone: false,
        }),
        ..Default::default()
    };
    let subscribe =
        |users: Vec<String>, rooms: Vec<String>, everything| SubscribeRequest { rooms, users, everything, since: None };
    let outcome = match action {
        OpenStream => client.publish_stream(tokio_stream::empty()).await.map(drop),
        PublishInPieces => publish_in_pieces(app, token).await,
        PublishFor(room) => {
            let target = Target { rooms: vec![text(room)], ..Default::default() };
            let request = PublishRequest { event: text("otra.x"), target: Some(target), ..Default::default() };
            client.publish(request).await.map(drop)
        }
        Health => health(app, token).await,
        Reflect => reflect(app, token).await,
        Revoke => {
            let request = RevokeUserRequest { user_id: text("nobody"), ..Default::default() };
            client.revoke_user(request).await.map(drop)
        }
        Disconnect => {
            let request = DisconnectRequest { user_id: text("nobody"), ..Default::default() };
            client.disconnect(request).await.map(drop)
        }
        Publish(event) => client.publish(PublishRequest { event: text(event), ..Default::default() }).await.map(drop),
        Explain => client.explain_route(ExplainRouteRequest { event: text("x"), ..Default::default() }).await.map(drop),
        Stats => client.get_stats(GetStatsRequest::default()).await.map(drop),
        HistoryOfRoom(room) => client.get_history(history(&[], &[room])).await.map(drop),
        HistoryOfUser(user) => client.get_history(history(&[user], &[])).await.map(drop),
        HistoryOfAll => client.get_history(GetHistoryRequest::default()).await.map(drop),
        Follow(room) => client.subscribe(subscribe(vec![], vec![text(room)], false)).await.map(drop),
        FollowUser(user) => client.subscribe(subscribe(vec![text(user)], vec![], false)).await.map(drop),
        FollowAll => client.subscribe(subscribe(vec![], vec![], true)).await.map(drop),
        other => panic!("not over gRPC: {other:?}"),
    };
    match outcome.map_err(|status| status.code()) {
        Ok(()) => Outcome::Done,
        Err(Code::Unauthenticated) => Outcome::Unknown,
        Err(Code::PermissionDenied) => Outcome::Forbidden,
        Err(other) => panic!("code {other}"),
    }
}

/// Publishes in two pieces.
async fn publish_in_pieces(app: &TestApp, token: Option<&str>) -> Result<(), Status> {
    let channel = app.channel().await;
    let message = framed(&PublishRequest { event: "presentacion.x".to_owned(), ..Default::default() });
    let call = Call::begin(&channel, "exposia.notifications.v1.NotificationService/Publish", token);
    call.send(message[..7].to_vec()).await;
    call.send(message[7..].to_vec()).await;
    let status = call.end().await;
    if status.code() == Code::Ok { Ok(()) } else { Err(status) }
}

async fn health(app: &TestApp, token: Option<&str>) -> Result<(), Status> {
    let call = Call::begin(&app.channel().await, "grpc.health.v1.Health/Check", token);
    call.send(framed(&HealthCheckRequest::default())).await;
    let status = call.end().await;
    if status.code() == Code::Ok { Ok(()) } else { Err(status) }
}

async fn reflect(app: &TestApp, token: Option<&str>) -> Result<(), Status> {
    let channel = app.channel().await;
    let mut codes = Vec::new();
    for version in ["v1", "v1alpha"] {
        let path = format!("grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let status = Call::begin(&channel, &path, token).end().await;
        codes.push(status.code());
        if status.code() != Code::Ok {
            return Err(status);
        }
    }
    assert_eq!(codes, [Code::Ok; 2]);
    Ok(())
}

async fn over_websocket((app, clock): (&TestApp, &Manual), action: Action, token: Option<&str>) -> Outcome {
    // It holds its client id until the end.
    let _ana = match action {
        TakeOver => Some(app.connect(&format!("held?token={}", mint(json!({ "sub": "ana" })))).await),
        _ => None,
    };
    let address = match action {
        Follow(room) => format!("matrix?room={room}"),
        FollowUser(user) => format!("matrix?user_id={user}"),
        Move(_) | MoveLate(_) => "matrix".to_owned(),
        TakeOver => "held".to_owned(),
        other => panic!("not over a WebSocket: {other:?}"),
    };
    let headers: Vec<_> = token.map(|token| ("authorization", format!("Bearer {token}"))).into_iter().collect();
    let socket = match open_with(app.http(), &address, &headers).await {
        Ok(socket) => socket,
        Err(response) => return of_status(response.status().as_u16()),
    };
    let mut client = Client::over(socket).await;
    let outcome = match action {
        Move(room) => asked_to_move(&mut client, room).await,
        MoveLate(room) => {
            clock.step(TimeDelta::hours(2));
            let outcome = asked_to_move(&mut client, room).await;
            clock.step(TimeDelta::hours(-2));
            outcome
        }
        _ => Outcome::Done,
    };
    client.close().await;
    outcome
}

/// Joins and subscribes, which must come to the same.
async fn asked_to_move(client: &mut Client, room: &str) -> Outcome {
    let mut outcomes = Vec::new();
    for kind in ["subscribe", "join_room"] {
        let answer = ask_late(client, json!({ "type": kind, "room": room })).await;
        outcomes.push(if answer["type"] == "error" { Outcome::Forbidden } else { Outcome::Done });
    }
    assert_eq!(outcomes[0], outcomes[1], "{room}");
    outcomes[0]
}
