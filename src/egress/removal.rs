//! Closing the connections of those who shall not have them any more.

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
}

impl Removal {
    /// Of these clients.
    pub fn new(clients: Clients, revocations: Revocations) -> Self {
        Self { clients, revocations }
    }

    /// Believes the user's tokens, or one token, no more, and closes what is open under them.
    pub fn revoke_user(
        &self,
        request: Request<v1::RevokeUserRequest>,
    ) -> Result<Response<v1::RevokeUserResponse>, Status> {
        gate::caller(&request)?.check_admin()?;
        let v1::RevokeUserRequest { user_id, token_id } = request.into_inner();
        let closed = match (user_id.as_str(), token_id.as_str()) {
            ("", "") => return Err(nobody("user_id")),
            ("", token) => {
                self.revocations.revoke_token(token);
                self.close(Close::Revoked, |connection| connection.has_token(token))
            }
            (user, _) => {
                let user = parse_user(user)?;
                self.revocations.revoke_user(user.clone());
                self.close(Close::Revoked, |connection| connection.user_id() == Some(&user))
            }
        };
        Ok(Response::new(v1::RevokeUserResponse { closed }))
    }

    /// Closes the connections of a client or of a user; they may come back.
    pub fn disconnect(
        &self,
        request: Request<v1::DisconnectRequest>,
    ) -> Result<Response<v1::DisconnectResponse>, Status> {
        gate::caller(&request)?.check_admin()?;
        let v1::DisconnectRequest { client_id, user_id } = request.into_inner();
        let closed = match (client_id.as_str(), user_id.as_str()) {
            ("", "") => return Err(nobody("client_id")),
            ("", user) => {
                let user = parse_user(user)?;
                self.close(Close::Disconnected, |connection| connection.user_id() == Some(&user))
            }
            (client, _) => {
                let client = ClientId::parse(client).map_err(|error| bad_name("client_id", error))?;
                self.close(Close::Disconnected, |connection| *connection.client_id() == client)
            }
        };
        Ok(Response::new(v1::DisconnectResponse { closed }))
    }

    fn close(&self, close: Close, whom: impl Fn(&Connection) -> bool) -> u32 {
        let connections = self.clients.connections();
        let closed = connections.iter().filter(|connection| whom(connection));
        closed.map(|connection| connection.close(close)).count() as u32
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
