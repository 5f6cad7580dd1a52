//! Which part of the clients the statistics show: an answer does not grow with the service.

use axum::extract::{Query, rejection::QueryRejection};
use serde::Deserialize;
use tonic::Status;

use crate::{
    domain::{ClientId, ClientInfo, Code},
    egress::Clients,
    wire::{problem::Problem, proto::v1, status::grpc_status},
};

/// How many clients a page has at the most, and how many rooms the statistics name.
pub(super) const MAX_PAGE: usize = 1_000;

/// The clients of a page stay within this size in bytes. With as many rooms as the statistics name, that fits into a gRPC message
/// of the usual 4 MiB.
const MAX_PAGE_BYTES: usize = 2 * 1024 * 1024;

/// A page of clients.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientPage {
    limit: usize,
    after: Option<ClientId>,
}

/// The page that a query asks for.
#[derive(Debug, Deserialize)]
pub(super) struct PageQuery {
    limit: Option<String>,
    after: Option<String>,
}

impl ClientPage {
    /// The page of `GET /stats`.
    pub(super) fn of_query(asked: Result<Query<PageQuery>, QueryRejection>) -> Result<Self, Problem> {
        let wrong = |field, message: String| Problem::field("query", field, "value_error", message);
        let Query(PageQuery { limit, after }) = asked.map_err(|rejection| wrong("", rejection.body_text()))?;
        let limit = match limit.as_deref().map(str::parse) {
            None => MAX_PAGE,
            Some(Ok(limit @ 1..=MAX_PAGE)) => limit,
            Some(_) => return Err(wrong("limit", format!("limit must be a number from 1 to {MAX_PAGE}"))),
        };
        let after = after_from(&after.unwrap_or_default()).map_err(|message| wrong("after", message))?;
        Ok(Self { limit, after })
    }

    /// The page of `GetStats`.
    #[allow(clippy::result_large_err, reason = "a status is what tonic takes")]
    pub(super) fn of_request(asked: &v1::GetStatsRequest) -> Result<Self, Status> {
        let wrong = |field, message: String| grpc_status(Code::Invalid, message, Some(field));
        let limit = match asked.limit as usize {
            0 => MAX_PAGE,
            limit @ 1..=MAX_PAGE => limit,
            _ => return Err(wrong("limit", format!("limit must be at most {MAX_PAGE}"))),
        };
        let after = after_from(&asked.after).map_err(|message| wrong("after", message))?;
        Ok(Self { limit, after })
    }

    /// The clients on it, and whether there are more behind them.
    pub(super) async fn read(self, clients: &Clients) -> (Vec<ClientInfo>, bool) {
        let (mut page, mut bytes) = (Vec::new(), 0);
        let mut walk = clients.walk(self.after);
        while let Some(some) = walk.next().await {
            for client in some {
                bytes += size(&client);
                if page.len() >= self.limit || bytes > MAX_PAGE_BYTES {
                    return (page, true);
                }
                page.push(client);
            }
        }
        (page, false)
    }
}

/// The client behind which a page begins; an empty text names none.
fn after_from(text: &str) -> Result<Option<ClientId>, String> {
    let after = (!text.is_empty()).then(|| ClientId::parse(text)).transpose();
    after.map_err(|error| format!("after {error}: give the last client_id of the page before"))
}

/// How many of a client's rooms are shown: so one client alone does not fill a page.
pub(super) const SHOWN_ROOMS: usize = 1_000;

/// About how much a client takes in an answer, in bytes.
fn size(client: &ClientInfo) -> usize {
    const FIELDS: usize = 128;
    const QUOTES: usize = 4;
    let rooms = client.rooms.iter().take(SHOWN_ROOMS).map(|room| room.as_str().len() + QUOTES);
    let own = client.rooms.first().map_or(0, |room| room.as_str().len());
    let user = client.user_id.as_ref().map_or(0, |user| user.as_str().len());
    FIELDS + client.client_id.as_str().len() + user + own + rooms.sum::<usize>()
}
