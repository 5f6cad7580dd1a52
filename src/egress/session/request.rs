//! What a client asks for that wants a session: the address of its request, read and judged.

use std::{borrow::Cow, net::IpAddr};

use http::Uri;
use serde::Deserialize;

use crate::{
    domain::{Audience, ClientId, Epoch, NameError, Position, RoomId, UserId},
    egress::session::attempt::Attempt,
    gate::{self, SubscribeScope},
    wire::problem::Problem,
};

/// What a client that asks for a session says of itself in the address, whatever is to carry the session.
#[derive(Debug)]
pub(in crate::egress) struct ConnectRequest {
    pub(in crate::egress) client_id: ClientId,
    pub(in crate::egress) user_id: Option<UserId>,
    pub(in crate::egress) room: RoomId,
    /// Rooms it listens to besides its own.
    pub(in crate::egress) rooms: Vec<RoomId>,
    pub(in crate::egress) since: Option<Position>,
    /// Which of its dials this is.
    pub(in crate::egress) attempt: Option<Attempt>,
    /// Where it is.
    pub(in crate::egress) address: IpAddr,
    /// What it may hear.
    pub(in crate::egress) permit: SubscribeScope,
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

impl ConnectRequest {
    /// Reads the address. A parameter that is empty counts as absent.
    pub(in crate::egress) fn read(
        client_id: &str,
        uri: &Uri,
        max_rooms: usize,
        (address, permit): (IpAddr, SubscribeScope),
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
        })
    }

    /// Takes the user from the credential, and refuses rooms that are not for it.
    pub(in crate::egress) fn authorised(mut self) -> Result<Self, gate::Error> {
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
