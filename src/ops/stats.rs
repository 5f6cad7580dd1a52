//! Who is connected and how much was published.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    extract::{Query, State, rejection::QueryRejection},
    response::Response,
    routing::get,
};
use prost_types::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use tonic::Status;

use crate::{
    domain::{ClientInfo, RoomId},
    egress::{Clients, Gap, History, Recent},
    gate::{self, RejectionCounters},
    journal::Read,
    ops::page::{ClientPage, MAX_PAGE, PageQuery, SHOWN_ROOMS},
    rooms,
    wire::{json, problem::Problem, proto::v1},
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
    refusals: RejectionCounters,
}

#[derive(Serialize)]
struct Body {
    total_connections: usize,
    rooms: BTreeMap<String, usize>,
    /// There are more rooms than these.
    rooms_truncated: bool,
    clients: Vec<Client>,
    /// There are more clients behind these.
    clients_truncated: bool,
    recent_notifications: Vec<Box<RawValue>>,
    /// What of the recent ones cannot be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<Gap>,
    /// Why there are none, where the journal cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    recent_unavailable: Option<String>,
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
    /// Makes the statistics of these clients, rooms, journal, history and rejections.
    pub fn new(
        clients: Clients,
        rooms: rooms::Reader,
        journal: Arc<dyn Read>,
        history: History,
        refusals: RejectionCounters,
    ) -> Self {
        Self { clients, rooms, journal, history, refusals }
    }

    pub(super) fn router(self) -> Router {
        Router::new().route("/stats", get(show)).with_state(self)
    }

    /// The statistics for `GetStats`. Fails when there is no such page.
    pub async fn report(&self, request: v1::GetStatsRequest) -> Result<v1::GetStatsResponse, Status> {
        let (clients, clients_truncated) = ClientPage::of_request(&request)?.read(&self.clients).await;
        let (rooms, rooms_truncated) = self.rooms.rooms(MAX_PAGE).await;
        let bounds = self.journal.bounds();
        Ok(v1::GetStatsResponse {
            total_connections: self.clients.len() as u32,
            rooms: rooms.into_iter().map(|(room, members)| (room.to_string(), members as u32)).collect(),
            clients: clients.into_iter().map(client_message).collect(),
            total_notifications_sent: bounds.appended,
            epoch: self.journal.epoch().to_string(),
            oldest_sequence: if bounds.oldest > bounds.newest { 0 } else { bounds.oldest },
            newest_sequence: bounds.newest,
            refusals: self.refusals.counts().map(|(reason, count)| (reason.to_owned(), count)).collect(),
            idempotency_key_life: self.journal.shortest_key_life().and_then(|life| life.try_into().ok()),
            clients_truncated,
            rooms_truncated,
        })
    }

    /// The statistics for `GET /stats`. Those who look into a trouble ask for them, so they come although the journal cannot be read.
    async fn body(&self, page: ClientPage) -> Body {
        let (recent, recent_unavailable) = match self.history.recent(None, RECENT).await {
            Ok(recent) => (recent, None),
            Err(error) => (Recent::default(), Some(error.to_string())),
        };
        let (clients, clients_truncated) = page.read(&self.clients).await;
        let (rooms, rooms_truncated) = self.rooms.rooms(MAX_PAGE).await;
        let mut rooms: BTreeMap<_, _> = rooms.into_iter().map(|(room, members)| (room.to_string(), members)).collect();
        // As with the original, be it empty.
        rooms.entry(RoomId::general().to_string()).or_default();
        Body {
            total_connections: self.clients.len(),
            rooms,
            rooms_truncated,
            clients: clients.into_iter().map(client_body).collect(),
            clients_truncated,
            recent_notifications: recent.notifications,
            missing: recent.missing.into_iter().map(Gap::from).collect(),
            recent_unavailable,
            total_notifications_sent: self.journal.bounds().appended,
            refusals: self.refusals.counts().collect(),
        }
    }
}

async fn show(
    gate::Observer(caller): gate::Observer,
    asked: Result<Query<PageQuery>, QueryRejection>,
    State(stats): State<Stats>,
) -> Result<Response, Problem> {
    let mut body = stats.body(ClientPage::of_query(asked)?).await;
    caller.counted(Json(&body)).or_else(|denied| {
        // The figures come all the same: they are asked for when something is wrong.
        body.recent_notifications.clear();
        body.recent_unavailable = Some(denied.to_string());
        Ok(caller.counted(Json(&body))?)
    })
}

fn names(rooms: &[RoomId]) -> Vec<String> {
    rooms.iter().take(SHOWN_ROOMS).map(RoomId::to_string).collect()
}

fn client_body(client: ClientInfo) -> Client {
    let rooms = names(&client.rooms);
    Client {
        client_id: client.client_id.to_string(),
        user_id: client.user_id.map(|user| user.to_string()),
        room: rooms.first().cloned().unwrap_or_default(),
        connected_at: json::timestamp(client.connected_at),
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

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use async_trait::async_trait;
    use chrono::DateTime;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        clock::Manual,
        config::Config,
        domain::{Audience, Epoch, Seq},
        gate::Gate,
        journal::{self, Bounds, Error, Incarnation, Query},
    };

    /// A journal of which nothing can be read: some of it is damaged, or the disk fails.
    #[derive(Debug)]
    struct Unreadable(Option<Error>);

    impl Incarnation for Unreadable {
        fn epoch(&self) -> Epoch {
            Epoch::from_text("e")
        }
    }

    #[async_trait]
    impl Read for Unreadable {
        fn bounds(&self) -> Bounds {
            Bounds::of_consecutive(1, 7)
        }

        async fn read(&self, _: Query) -> Result<journal::Page, Error> {
            let page = journal::Page {
                notifications: Vec::new(),
                more: false,
                bounds: self.bounds(),
                lost: vec![2..=3, 5..=7],
            };
            self.0.clone().map_or(Ok(page), Err)
        }

        async fn count(&self, _: Vec<Audience>, _: Seq, _: Seq) -> Result<u64, Error> {
            Ok(0)
        }
    }

    async fn shown(journal: Unreadable) -> Value {
        let config = Config::defaults();
        let keys = config.gate.keys().expect("no keys");
        let clock = Arc::new(Manual::new(DateTime::UNIX_EPOCH));
        let gate = Gate::new(&config.gate, keys, config.gate.open(false), None, clock);
        let (_, reader) = rooms::split(NonZeroUsize::MIN);
        let journal: Arc<dyn Read> = Arc::new(journal);
        let history = History::new(Arc::clone(&journal));
        let stats = Stats::new(Clients::new(1), reader, journal, history, gate.rejections().clone());
        serde_json::to_value(stats.body(ClientPage::of_request(&v1::GetStatsRequest::default()).expect("a page")).await)
            .expect("JSON")
    }

    #[tokio::test]
    async fn the_statistics_come_although_the_journal_cannot_be_read() {
        let failed = shown(Unreadable(Some(Error::Io("EIO".into())))).await;
        assert_eq!(failed["recent_unavailable"], "the journal cannot be used: EIO");
        let damaged = shown(Unreadable(None)).await;
        assert_eq!(damaged["missing"], json!([{ "from": 2, "to": 3 }, { "from": 5, "to": 7 }]));
        for stats in [&failed, &damaged] {
            assert_eq!(stats["recent_notifications"], json!([]));
            assert_eq!(stats["total_notifications_sent"], 7);
        }
        assert!(failed.get("missing").is_none() && damaged.get("recent_unavailable").is_none());
    }
}
