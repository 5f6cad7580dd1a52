//! The beginning and the end of a session: who takes whose place, who is told, what is delivered first.

use std::{pin::pin, sync::Arc};

use futures_util::future::poll_immediate;
use tracing::Instrument;

use crate::{
    delivery::{
        catch_up::{self, Start},
        outbox::CatchUpPage,
    },
    domain::Recovery,
    egress::{
        session::{Admitted, Claim, ConnectRequest, LifecyclePermit, SessionHandle},
        ws::{Connection, OutboundFrame, Server, active::WebSocketSession, goodbye, pump},
    },
    journal::Error,
    listen::Socket,
    wire::{frame, json::Established, status::Close},
};

/// A session that was admitted and has no socket yet.
pub(super) struct Coming {
    pub(super) request: ConnectRequest,
    pub(super) claim: Claim,
    pub(super) admitted: Admitted,
    /// It was agreed to compress.
    pub(super) deflates: bool,
}

/// Begins a session and leaves it to a task of its own, which holds nothing that only the beginning needed: there may be
/// a hundred thousand of them, and most of them wait. `head` is what came in with the handshake.
pub(super) async fn run(server: Server, coming: Coming, (socket, head): (Socket, Vec<u8>)) {
    let Coming { request, claim, admitted, deflates } = coming;
    let sessions = &server.0.sessions;
    let permit = sessions.lifecycle_permits().lifecycle_permit().await;
    let max_bytes = server.0.options.send_queue_bytes.get();
    let connection = Connection::new(sessions.session(&request), socket, max_bytes, Arc::clone(sessions.clock()));
    let connection = Arc::new(connection.deflating(deflates));
    let active = sessions.begin(connection, request.address, admitted);
    let mut session = WebSocketSession::new(server.clone(), active);
    match session.active.enter(Some(claim)).await {
        Ok(()) => begin(&mut session, &request, permit).await,
        // Nobody hears of it, for it never was among the clients.
        Err(_) => session.connection().close(Close::Replaced),
    }
    sessions.drain().send_latecomer_away(&**session.connection());
    server.0.tasks.spawn(go_on(session, head));
}

/// The task of a session that was opened.
#[expect(clippy::manual_async_fn, reason = "the future of an `async fn` would hold what it is given twice")]
pub(super) fn go_on(mut session: WebSocketSession, head: Vec<u8>) -> impl Future<Output = ()> + Send {
    async move {
        let close = pump::run(&mut session, head).await;
        let span = session.span();
        Box::pin(end(session, close).instrument(span)).await;
    }
}

async fn end(mut session: WebSocketSession, close: Close) {
    // Whoever is going is no longer a member, however long its client takes to hang up.
    let server = session.server.clone();
    let permit = server.0.sessions.lifecycle_permits().lifecycle_permit().await;
    session.active.leave(close).await;
    drop(permit);
    goodbye::say(session.connection()).await;
    server.0.sessions.endings().note(close);
}

/// Opens the session of a connection that has its client id, or closes it.
async fn begin(session: &mut WebSocketSession, request: &ConnectRequest, permit: LifecyclePermit<'_>) {
    session.active.close_if_revoked();
    if let Err(error) = open(session, request, permit).await {
        session.active.unserved(&error);
    }
}

/// Listens first, then attends, then finds out where delivery begins, then says so to the client and to the others.
async fn open(
    session: &mut WebSocketSession,
    request: &ConnectRequest,
    permit: LifecyclePermit<'_>,
) -> Result<(), Error> {
    let (server, mut permit) = (session.server.clone(), Some(permit));
    let interests = session.active.listen();
    let attending = catch_up::attend(&*server.0.attend, &interests, request.since.as_ref());
    let attendance = after_others(&mut permit, attending).await?;
    let start = catch_up::start(&attendance, request.since.as_ref());
    let (replayed, page) = missed(session, &start, &mut permit).await?;
    let established = Established {
        client_id: &request.client_id,
        user_id: request.user_id.as_ref(),
        room: &session.active.session().rooms()[0],
        epoch: attendance.epoch(),
        seq: start.live_from,
        recovery: start.recovery,
        replayed,
        at: session.active.now(),
    };
    let (first, epoch) = (frame::text(&established.text()), attendance.epoch().clone());
    session.active.attend(attendance.go_on());
    if !session.connection().open((start.cursor, epoch), page.is_some(), first) {
        // Replaced before it began: nobody hears that it came, as nobody would hear that it left.
        return Ok(());
    }
    if let Some(page) = page {
        session.connection().fill(page);
    }
    session.active.tell_joined().await;
    Ok(())
}

/// How much a client missed that begins at `start`, and the first page of it.
async fn missed(
    session: &WebSocketSession,
    start: &Start,
    permit: &mut Option<LifecyclePermit<'_>>,
) -> Result<(u64, Option<CatchUpPage<OutboundFrame>>), Error> {
    match start.recovery {
        Recovery::Fresh | Recovery::Unrecoverable => return Ok((0, None)),
        Recovery::Resumed => {}
    }
    let (journal, audiences) = (&*session.server.0.journal, session.active.session().audiences());
    let max_bytes = session.server.0.options.send_queue_bytes.get();
    let missed = catch_up::missed(journal, audiences, start, max_bytes, |kept| OutboundFrame::from(kept));
    let (missed, page) = after_others(permit, missed).await?;
    Ok((missed, Some(page)))
}

/// Does what may have to wait for the journal. Others may begin meanwhile, for there are few permits; of those who wait few go on at
/// a time, for the journal lets few read.
async fn after_others<T>(permit: &mut Option<LifecyclePermit<'_>>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    match poll_immediate(work.as_mut()).await {
        Some(done) => done,
        None => {
            drop(permit.take());
            work.await
        }
    }
}
