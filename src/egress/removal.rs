//! Closing the connections of those who shall not have them any more.

use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use crate::{
    domain::{ClientId, Code, NameError, UserId},
    egress::{Clients, session::Session},
    gate::{self, Revocations},
    wire::{
        proto::v1,
        status::{Close, grpc_plain, grpc_status},
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
    /// Makes the service that closes connections of `clients`. An act that began is finished on `tasks`, also when its caller hangs
    /// up meanwhile.
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
                self.close(Close::Revoked, move |session| session.has_token(&token)).await?
            }
            (user, _) => {
                let user = parse_user(user)?;
                self.revocations.revoke_user(user.clone());
                self.close(Close::Revoked, move |session| session.user_id() == Some(&user)).await?
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
                self.close(Close::Disconnected, move |session| session.user_id() == Some(&user)).await?
            }
            (client, _) => {
                let client = ClientId::parse(client).map_err(|error| bad_name("client_id", error))?;
                let handle = self.clients.get(&client);
                handle.iter().for_each(|handle| handle.close(Close::Disconnected));
                u32::from(handle.is_some())
            }
        };
        Ok(Response::new(v1::DisconnectResponse { closed }))
    }

    /// Closes the connections of the sessions of which `whom` is true, and gives their number.
    async fn close(&self, close: Close, whom: impl Fn(&Session) -> bool + Send + 'static) -> Result<u32, Status> {
        let mut walk = self.clients.walk_sessions();
        let closing = async move {
            let mut closed = 0;
            while let Some(handles) = walk.next().await {
                for handle in handles.iter().filter(|handle| whom(handle.session())) {
                    handle.close(close);
                    closed += 1;
                }
            }
            closed
        };
        self.tasks.spawn(closing).await.map_err(|_| grpc_plain(Code::Internal, "not all could be closed; try again"))
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

#[cfg(test)]
mod tests {
    use std::{num::NonZeroUsize, sync::Arc, time::Duration};

    use futures_util::{FutureExt, StreamExt};
    use tokio::time::timeout;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        clock::System,
        config::Config,
        egress::{Sessions, ws},
        gate::{Gate, GateLayer},
        journal::Memory,
        listen,
        peers::Alone,
        rooms,
    };

    // more of them than are closed in one turn
    const MANY: usize = 300;

    #[tokio::test]
    async fn what_began_is_finished_although_its_caller_hung_up() {
        let config = Config::defaults();
        let clock = Arc::new(System::default());
        let keys = config.gate.keys().expect("no keys");
        let gate = Gate::new(&config.gate, keys, config.gate.open(false), None, clock.clone());
        let (_, rooms) = rooms::split(NonZeroUsize::MIN);
        let (stopping, tasks, clients) = (CancellationToken::new(), TaskTracker::new(), Clients::new(MANY));
        let journal = Arc::new(Memory::new(&config.journal, clock.clone()));
        let sessions = Sessions::new(
            &config.egress,
            clients.clone(),
            (rooms, Arc::new(Alone)),
            journal.clone(),
            gate.clone(),
            stopping.clone(),
            clock,
        );
        let server = ws::Server::new(&config.egress, sessions, (journal.clone(), journal), gate.clone(), tasks.clone());
        let removal = Removal::new(clients, gate.revocations().clone(), tasks.clone());
        let socket = listen::bind("127.0.0.1", 0).await.expect("a port");
        let address = socket.local_addr().expect("an address");
        let listener = listen::Listener::plain(socket);
        let router = ws::router(server).layer(GateLayer::http(gate));
        tasks.spawn(listen::serve_http(listener, router, config.listen.clone(), stopping, tasks.clone()));
        let mut clients = Vec::new();
        for number in 0..MANY {
            let url = format!("ws://{address}/ws/c{number}?room=r{number}");
            let (mut client, _) = tokio_tungstenite::connect_async(url).await.expect("a handshake");
            client.next().await.expect("a message").expect("the connection is open");
            clients.push(client);
        }

        assert!(removal.close(Close::Revoked, |_| true).now_or_never().is_none(), "it takes several turns");
        for mut client in clients {
            let closed = timeout(Duration::from_secs(30), client.next()).await.expect("it is closed");
            assert!(closed.expect("a close frame").expect("no failure").is_close());
        }
    }
}
