//! The pull side: reading the journal without a subscription.

use std::{ops::RangeInclusive, sync::Arc};

use axum::{
    Json, Router,
    extract::{self, State, rejection::QueryRejection},
    response,
    routing::get,
};
use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tonic::{Request, Response, Status};

use crate::{
    delivery::missing,
    domain::{Audience, Audiences, Code, RoomId, Seq, UserId},
    gate::{self, Caller},
    journal::{self, Query, Read},
    wire::{
        json,
        problem::Problem,
        proto::{self, v1},
        status::grpc_status,
    },
};

/// How many notifications `GET /history` shows.
const SHOWN: usize = 100;

/// `GET /history` and `GET /stats` stay within this size: they show large notifications, but fewer of them.
const MAX_SHOWN_BYTES: usize = 8 * 1024 * 1024;

/// How many notifications a page of `GetHistory` has when the request does not say, and at the most.
const PAGE: usize = 100;
const MAX_PAGE: usize = 1_000;

/// A page stays within this size, so that it fits into a gRPC message of the usual 4 MiB.
const MAX_PAGE_BYTES: usize = 2 * 1024 * 1024;

/// Reads what was published.
#[derive(Debug, Clone)]
pub struct History {
    journal: Arc<dyn Read>,
}

#[derive(Serialize)]
struct Shown {
    history: Vec<Box<RawValue>>,
    total: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<Gap>,
}

/// What cannot be read, as JSON says it.
#[derive(Debug, Serialize)]
pub struct Gap {
    from: Seq,
    to: Seq,
}

impl From<RangeInclusive<Seq>> for Gap {
    fn from(range: RangeInclusive<Seq>) -> Self {
        Self { from: *range.start(), to: *range.end() }
    }
}

/// The last notifications.
#[derive(Debug, Default)]
pub struct Recent {
    /// As JSON texts, oldest first.
    pub notifications: Vec<Box<RawValue>>,
    /// What between the first of them and the newest cannot be read.
    pub missing: Vec<RangeInclusive<Seq>>,
}

impl History {
    /// Reads from `journal`.
    pub fn new(journal: Arc<dyn Read>) -> Self {
        Self { journal }
    }

    /// The routes of the history.
    pub fn router(self) -> Router {
        Router::new().route("/history", get(show)).with_state(self)
    }

    /// The last `count` notifications for `audiences`, or for anyone, that can be read.
    pub async fn recent(&self, audiences: Option<Vec<Audience>>, count: usize) -> Result<Recent, journal::Error> {
        let query = Query {
            audiences,
            after: 0,
            before: None,
            since: None,
            limit: count,
            max_bytes: MAX_SHOWN_BYTES,
            newest_first: true,
        };
        let page = self.journal.read(query).await?;
        let texts = page.notifications.iter().rev().map(|notification| {
            let text = String::from_utf8(json::kept(notification)).expect("JSON is UTF-8");
            RawValue::from_string(text).expect("what the wire makes of a notification is JSON")
        });
        Ok(Recent { notifications: texts.collect(), missing: missing::missing(&page, true) })
    }

    /// Reads a page for `GetHistory`.
    pub async fn page(
        &self,
        request: Request<v1::GetHistoryRequest>,
    ) -> Result<Response<v1::GetHistoryResponse>, Status> {
        let permit = gate::caller(&request)?.reader()?;
        let request = request.into_inner();
        let (after, newest_first) = (request.after_sequence, request.newest_first);
        let query = query(&request)?;
        permit.check_all(query.audiences.as_deref())?;
        let page = self.journal.read(query).await.map_err(|error| gate::Error::by_journal(error.code(), &error))?;
        let missing = missing::missing(&page, newest_first);
        let next = missing::end(&page, &missing, newest_first, after);
        Ok(Response::new(v1::GetHistoryResponse {
            notifications: page
                .notifications
                .iter()
                .map(|notification| proto::notification_from(notification))
                .collect(),
            has_more: page.more,
            next_sequence: next,
            epoch: self.journal.epoch().to_string(),
            oldest_sequence: if page.bounds.oldest > page.bounds.newest { 0 } else { page.bounds.oldest },
            newest_sequence: page.bounds.newest,
            missing: missing.into_iter().map(gap_message).collect(),
        }))
    }
}

fn gap_message(range: RangeInclusive<Seq>) -> v1::Gap {
    v1::Gap { from_sequence: *range.start(), to_sequence: *range.end() }
}

/// Which part of the history: what was for this room or for this user; without either, everything.
#[derive(Deserialize)]
struct Part {
    room: Option<String>,
    user_id: Option<String>,
}

impl Part {
    fn audiences(&self) -> Result<Option<Vec<Audience>>, Problem> {
        let wrong = |field: &str, error| Problem::field("query", field, "value_error", format!("{field} {error}"));
        let room = self.room.as_deref().map(RoomId::parse).transpose().map_err(|error| wrong("room", error))?;
        let user = self.user_id.as_deref().map(UserId::parse).transpose().map_err(|error| wrong("user_id", error))?;
        let audiences: Vec<_> = room.map(Audience::Room).into_iter().chain(user.map(Audience::User)).collect();
        Ok((!audiences.is_empty()).then_some(audiences))
    }
}

async fn show(
    caller: Caller,
    part: Result<extract::Query<Part>, QueryRejection>,
    State(history): State<History>,
) -> Result<response::Response, Problem> {
    let permit = caller.reader()?;
    let part = part.map_err(|rejection| Problem::field("query", "", "value_error", rejection.body_text()))?;
    let audiences = part.audiences()?;
    permit.check_all(audiences.as_deref())?;
    let Recent { notifications: history, missing } =
        history.recent(audiences, SHOWN).await.map_err(|error| gate::Error::by_journal(error.code(), &error))?;
    let missing = missing.into_iter().map(Gap::from).collect();
    Ok(caller.counted(Json(Shown { total: history.len(), history, missing }))?)
}

fn query(request: &v1::GetHistoryRequest) -> Result<Query, Status> {
    let limit = match request.page_size as usize {
        0 => PAGE,
        size @ 1..=MAX_PAGE => size,
        _ => {
            let message = format!("page_size: must be at most {MAX_PAGE}");
            return Err(grpc_status(Code::Invalid, message, Some("page_size")));
        }
    };
    Ok(Query {
        audiences: request.audience.as_ref().map(audiences).transpose()?.flatten(),
        after: request.after_sequence,
        before: Some(request.before_sequence).filter(|before| *before > 0),
        since: request.since_time.map(since).transpose()?,
        limit,
        max_bytes: MAX_PAGE_BYTES,
        newest_first: request.newest_first,
    })
}

fn since(time: Timestamp) -> Result<DateTime<Utc>, Status> {
    proto::time_from(time).map_err(|error| {
        let message = "since_time: must lie between the years 1 and 9999".to_owned();
        grpc_status(error.code(), message, Some("since_time"))
    })
}

/// A target that names nobody asks for everything.
fn audiences(target: &v1::Target) -> Result<Option<Vec<Audience>>, Status> {
    if *target == v1::Target::default() {
        return Ok(None);
    }
    let audiences = Audiences::from_target(target.everyone, &target.users, &target.rooms)
        .map_err(|error| grpc_status(Code::Invalid, error.within("audience."), Some("audience")))?;
    Ok(Some(audiences.as_slice().to_vec()))
}
