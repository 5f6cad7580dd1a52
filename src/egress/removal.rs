//! Closing the connections of those who shall not have them any more.

use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use crate::{
    domain::{ClientId, Code, NameError, UserId},
    egress::{Clients, ws::Connection},
    gate::{self, Revocations},
    wire::{
        proto::v1,
        status::{Close, grpc_status},
    },
};

/// Revokes tokens and closes connections, for callers with the admin grant.
#[derive(Debug, Clone)]
pub struct Removal {
    clients: Clients,
    revocations: Revocations,
    tasks: TaskTracker,
}

impl Removal {
    /// Of these clients. What began is finished on `tasks`, also when its caller hangs up meanwhile.
    pub fn new(clients: Clients, revocations: Revocations, tasks: TaskTracker) -> Self {
        Self { clients, revocations, tasks }
    }

    /// Believes the user's tokens, or one token, no more, and closes what is open under them.
    pub async fn revoke_user(
        &self,
        request: Request<v1::RevokeUserRequest>,
    ) -> Result<Response<v1::RevokeUserResponse>, Status> {
        gate::caller(&request)?.check_admin()?;
        let v1::RevokeUserRequest { user_id, token_id } = request.into_inner();
        let closed = match (user_id.as_str(), token_id.as_str()) {
            ("", "") => return Err(nobody("user_id")),
            ("", token) => {
                self.revocations.revoke_token(token);
                let token = token.to_owned();
                self.close(Close::Revoked, move |connection| connection.has_token(&token)).await?
            }
            (user, _) => {
                let user = parse_user(user)?;
                self.revocations.revoke_user(user.clone());
                self.close(Close::Revoked, move |connection| connection.user_id() == Some(&user)).await?
            }
        };
        Ok(Response::new(v1::RevokeUserResponse { closed }))
    }

    /// Closes the connections of a client or of a user; they may come back.
    pub async fn disconnect(
        &self,
        request: Request<v1::DisconnectRequest>,
    ) -> Result<Response<v1::DisconnectResponse>, Status> {
        gate::caller(&request)?.check_admin()?;
        let v1::DisconnectRequest { client_id, user_id } = request.into_inner();
        let closed = match (client_id.as_str(), user_id.as_str()) {
            ("", "") => return Err(nobody("client_id")),
            ("", user) => {
                let user = parse_user(user)?;
                self.close(Close::Disconnected, move |connection| connection.user_id() == Some(&user)).await?
            }
            (client, _) => {
                let client = ClientId::parse(client).map_err(|error| bad_name("client_id", error))?;
                let connection = self.clients.get(&client);
                connection.iter().for_each(|connection| connection.close(Close::Disconnected));
                u32::from(connection.is_some())
            }
        };
        Ok(Response::new(v1::DisconnectResponse { closed }))
    }

    /// Closes the connections of which `whom` is true, and gives their number.
    async fn close(
        &self,
        close: Close,
        whom: impl Fn(&Connection) -> bool + Send + 'static,
    ) -> Result<u32, Status> {
        let mut walk = self.clients.walk(None);
        let closing = async move {
            let mut closed = 0;
            while let Some(connections) = walk.next_connections().await {
                for connection in connections.iter().filter(|connection| whom(connection)) {
                    connection.close(close);
                    closed += 1;
                }
            }
            closed
        };
        self.tasks.spawn(closing).await.map_err(|_| Status::internal("not all could be closed; try again"))
    }
}

fn nobody(field: &str) -> Status {
    grpc_status(Code::Invalid, "say whom: one of the two fields must be set", Some(field))
}

#[allow(clippy::result_large_err, reason = "a status is what tonic takes")]
fn parse_user(text: &str) -> Result<UserId, Status> {
    UserId::parse(text).map_err(|error| bad_name("user_id", error))
}

fn bad_name(field: &str, error: NameError) -> Status {
    grpc_status(Code::Invalid, format!("{field} {error}"), Some(field))
}
