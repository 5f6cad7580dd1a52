//! `GET /ws/{client_id}`: from a request to a socket.

use std::{borrow::Cow, net::IpAddr};

use axum::{
    Router,
    extract::{Path, Request, State, rejection::PathRejection},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{
    HeaderMap, HeaderValue, Uri,
    header::{SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL},
};
use serde::Deserialize;
use tracing::Instrument;

use crate::{
    domain::{Audience, ClientId, Epoch, NameError, Position, RoomId, UserId},
    egress::{
        session::{
            attempt::Attempt,
            registry::{Claim, Owner},
        },
        ws::{Sockets, extension, open::Places, session_span, upgrade},
    },
    gate::{BEARER_PROTOCOL, Caller, Denied, Permit, Unserved},
    listen::Socket,
    wire::problem::Problem,
};

/// The routes of WebSocket subscribers.
pub fn router(sockets: Sockets) -> Router {
    Router::new().route("/ws/{client_id}", get(handshake)).with_state(sockets)
}

/// What a client says of itself in the address.
#[derive(Debug)]
pub(super) struct Hello {
    pub(super) client_id: ClientId,
    pub(super) user_id: Option<UserId>,
    pub(super) room: RoomId,
    /// Rooms it listens to besides its own.
    pub(super) rooms: Vec<RoomId>,
    pub(super) since: Option<Position>,
    /// Which of its dials this is.
    pub(super) attempt: Option<Attempt>,
    /// Where it is.
    pub(super) address: IpAddr,
    /// What it may hear.
    pub(super) permit: Permit,
    /// It was agreed to compress.
    pub(super) deflates: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Parameters<'a> {
    #[serde(borrow)]
    user_id: Cow<'a, str>,
    #[serde(borrow)]
    room: Cow<'a, str>,
    #[serde(borrow)]
    rooms: Cow<'a, str>,
    #[serde(borrow)]
    since: Cow<'a, str>,
    #[serde(borrow)]
    epoch: Cow<'a, str>,
    #[serde(borrow)]
    attempt: Cow<'a, str>,
}

impl Hello {
    /// Reads the address. A parameter that is empty counts as absent.
    fn read(
        client_id: &str,
        uri: &Uri,
        max_rooms: usize,
        (address, permit): (IpAddr, Permit),
    ) -> Result<Self, Problem> {
        let query = uri.query().unwrap_or_default();
        let parameters: Parameters<'_> = serde_urlencoded::from_str(query)
            .map_err(|error| Problem::field("query", "", "value_error", error.to_string()))?;
        let name =
            |field: &str, error: NameError| Problem::field("query", field, "value_error", format!("{field} {error}"));
        let room = |field, text: &str| RoomId::parse(text).map_err(|error| name(field, error));
        let rooms = parameters.rooms.split(',').filter(|room| !room.is_empty());
        let rooms = rooms.map(|text| room("rooms", text)).collect::<Result<Vec<_>, _>>()?;
        if rooms.len() >= max_rooms {
            let message = format!("a connection may listen to at most {max_rooms} rooms, its own among them");
            return Err(Problem::field("query", "rooms", "value_error", message));
        }
        Ok(Self {
            client_id: ClientId::parse(client_id)
                .map_err(|error| Problem::field("path", "client_id", "value_error", format!("client_id {error}")))?,
            user_id: match &*parameters.user_id {
                "" => None,
                text => Some(UserId::parse(text).map_err(|error| name("user_id", error))?),
            },
            room: match &*parameters.room {
                "" => RoomId::general(),
                text => room("room", text)?,
            },
            rooms,
            since: position(&parameters.since, &parameters.epoch)?,
            attempt: attempt(&parameters.attempt)?,
            address,
            permit,
            deflates: false,
        })
    }

    /// Takes the user from the credential, and refuses rooms that are not for it.
    fn authorised(mut self) -> Result<Self, Denied> {
        self.user_id = self.permit.user(self.user_id)?;
        for room in [&self.room].into_iter().chain(&self.rooms) {
            self.permit.check(Some(&Audience::Room(room.clone())))?;
        }
        Ok(self)
    }
}

fn position(since: &str, epoch: &str) -> Result<Option<Position>, Problem> {
    if since.is_empty() {
        return Ok(None);
    }
    let wrong = || {
        Problem::field("query", "since", "int_parsing", "since must be a whole number, the `seq` that was seen last")
    };
    let seq = since.parse().map_err(|_| wrong())?;
    Ok(Some(Position { seq, epoch: Epoch::from_text(epoch) }))
}

fn attempt(text: &str) -> Result<Option<Attempt>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || {
        let message = format!("attempt must be a whole number from 0 to {}, greater with each dial", Attempt::MAX);
        Problem::field("query", "attempt", "int_parsing", message)
    };
    Attempt::parse(text).map(Some).ok_or_else(wrong)
}

/// Keeps the client id for a connection, unless another user has it.
async fn claim(sockets: &Sockets, hello: &Hello) -> Result<Claim, Denied> {
    let owner = sockets.0.gate.knows_subscribers().then(|| Owner::new(&hello.permit, hello.user_id.clone()));
    let claimed = sockets.0.clients.claim(&hello.client_id, owner).await;
    claimed.map_err(|_| Denied::ClientId(hello.client_id.clone()))
}

async fn handshake(
    State(sockets): State<Sockets>,
    caller: Caller,
    client_id: Result<Path<String>, PathRejection>,
    mut request: Request,
) -> Result<Response, Problem> {
    let mut response = match upgrade::accept(&request) {
        Ok(response) => response,
        Err(refusal) => return Ok(refusal.into_response()),
    };
    sockets.0.gate.origins().check(request.headers())?;
    let permit = caller.subscriber()?;
    choose_protocol(request.headers(), response.headers_mut());
    let client_id =
        client_id.map_err(|rejection| Problem::field("path", "client_id", "value_error", rejection.body_text()))?;
    let max_rooms = sockets.0.options.max_rooms_per_connection.get();
    let mut hello = Hello::read(&client_id, request.uri(), max_rooms, (caller.address(), permit))?.authorised()?;
    hello.deflates =
        sockets.0.options.permessage_deflate && choose_extension(request.headers(), response.headers_mut());
    if sockets.0.draining.is_cancelled() {
        let why = "the server is going away; reconnect in a second";
        return Err(Denied::Unserved(Unserved::Draining, why.into()).into());
    }
    let place = sockets.0.clients.place();
    let full = || Denied::Unserved(Unserved::Connections, "too many connections; try again later".into());
    let place = place.ok_or_else(full)?;
    let places = (place, caller.place()?);
    // Last, so that nothing is claimed for a handshake that fails.
    let claim = claim(&sockets, &hello).await?;
    let upgrade = hyper::upgrade::on(&mut request);
    let span = session_span(&hello.client_id);
    let session = serve(sockets.clone(), (hello, claim), upgrade, places);
    sockets.0.tasks.spawn(session.instrument(span));
    Ok(response)
}

/// A browser that offers protocols wants one of them back: the word before the token, and never the token.
fn choose_protocol(offered: &HeaderMap, answer: &mut HeaderMap) {
    let offered = offered.get(SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if offered.split(',').any(|protocol| protocol.trim() == BEARER_PROTOCOL) {
        answer.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(BEARER_PROTOCOL));
    }
}

/// Takes up an offer to compress, if there is one; says whether it did.
fn choose_extension(offered: &HeaderMap, answer: &mut HeaderMap) -> bool {
    let chosen = extension::accept(offered);
    let chooses = chosen.is_some();
    answer.extend(chosen.map(|chosen| (SEC_WEBSOCKET_EXTENSIONS, chosen)));
    chooses
}

async fn serve(sockets: Sockets, (hello, claim): (Hello, Claim), upgrade: hyper::upgrade::OnUpgrade, places: Places) {
    // A client that goes away before the upgrade is complete never was one.
    let Ok(upgraded) = upgrade.await else { return };
    match Socket::of_upgraded(upgraded) {
        Some((socket, head)) => super::open::run(sockets.clone(), (hello, claim), socket, head, places).await,
        None => tracing::error!("the connection that was upgraded is not one of the listener"),
    }
}
