//! Who is connected and how much was published.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, Router, extract::State, routing::get};
use prost_types::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    domain::RoomId,
    egress::{ClientInfo, Clients, History},
    gate::{self, Denied, Refusals},
    journal::Read,
    rooms,
    wire::{problem::Problem, proto::v1, text},
};

/// How many notifications `GET /stats` shows.
const RECENT: usize = 10;

/// Counts what can be seen of the service.
#[derive(Debug, Clone)]
pub struct Stats {
    clients: Clients,
    rooms: rooms::Reader,
    journal: Arc<dyn Read>,
    history: History,
    refusals: Refusals,
}

#[derive(Serialize)]
struct Body {
    total_connections: usize,
    rooms: BTreeMap<String, usize>,
    clients: Vec<Client>,
    recent_notifications: Vec<Box<RawValue>>,
    total_notifications_sent: u64,
    /// By reason, since the start.
    refusals: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct Client {
    client_id: String,
    user_id: Option<String>,
    room: String,
    connected_at: String,
    rooms: Vec<String>,
}

impl Stats {
    /// Looks at these.
    pub fn new(
        clients: Clients,
        rooms: rooms::Reader,
        journal: Arc<dyn Read>,
        history: History,
        refusals: Refusals,
    ) -> Self {
        Self { clients, rooms, journal, history, refusals }
    }

    pub(super) fn router(self) -> Router {
        Router::new().route("/stats", get(show)).with_state(self)
    }

    /// The statistics for `GetStats`.
    pub fn report(&self) -> v1::GetStatsResponse {
        let bounds = self.journal.bounds();
        let clients: Vec<_> = self.clients.list().into_iter().map(client_message).collect();
        v1::GetStatsResponse {
            total_connections: clients.len() as u32,
            rooms: self.room_sizes().map(|(room, members)| (room, members as u32)).collect(),
            clients,
            total_notifications_sent: bounds.newest,
            epoch: self.journal.epoch().to_string(),
            oldest_sequence: if bounds.oldest > bounds.newest { 0 } else { bounds.oldest },
            newest_sequence: bounds.newest,
            refusals: self.refusals.counts().map(|(reason, count)| (reason.to_owned(), count)).collect(),
            idempotency_key_life: self.journal.shortest_key_life().and_then(|life| life.try_into().ok()),
        }
    }

    fn room_sizes(&self) -> impl Iterator<Item = (String, usize)> {
        self.rooms.rooms().into_iter().map(|(room, members)| (room.to_string(), members))
    }
}

async fn show(_: gate::Observer, State(stats): State<Stats>) -> Result<Json<Body>, Problem> {
    let recent = stats.history.recent(None, RECENT).await.map_err(|error| Denied::by_journal(error.code(), &error))?;
    let clients: Vec<_> = stats.clients.list().into_iter().map(client_body).collect();
    Ok(Json(Body {
        total_connections: clients.len(),
        rooms: stats.room_sizes().collect(),
        clients,
        recent_notifications: recent.notifications,
        total_notifications_sent: stats.journal.bounds().newest,
        refusals: stats.refusals.counts().collect(),
    }))
}

fn names(rooms: &[RoomId]) -> Vec<String> {
    rooms.iter().map(RoomId::to_string).collect()
}

fn client_body(client: ClientInfo) -> Client {
    let rooms = names(&client.rooms);
    Client {
        client_id: client.client_id.to_string(),
        user_id: client.user_id.map(|user| user.to_string()),
        room: rooms.first().cloned().unwrap_or_default(),
        connected_at: text::timestamp(client.connected_at),
        rooms,
    }
}

fn client_message(client: ClientInfo) -> v1::Client {
    let rooms = names(&client.rooms);
    v1::Client {
        client_id: client.client_id.to_string(),
        user_id: client.user_id.map(|user| user.to_string()).unwrap_or_default(),
        room: rooms.first().cloned().unwrap_or_default(),
        connected_at: Some(Timestamp {
            seconds: client.connected_at.timestamp(),
            nanos: client.connected_at.timestamp_subsec_nanos() as i32,
        }),
        rooms,
    }
}
