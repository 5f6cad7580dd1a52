//! The task of a session: it waits for whatever is next and does it.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll};

use tokio::{
    task::yield_now,
    time::{Instant, timeout_at},
};
use tracing::Instrument;

use crate::{
    domain::Seq,
    egress::{
        session::{Effect, SessionHandle},
        ws::{
            Connection,
            active::WebSocketSession,
            connection::Todo,
            message_limiter::Decision,
            protocol::{Incoming, Protocol},
        },
    },
    gate,
    rooms::Member,
    wire::{
        client::{ClientMessage, MessageError},
        frame, json, messages,
        status::Close,
    },
};

/// How many messages of a client are handled before other tasks get their turn.
const MESSAGES_PER_YIELD: usize = 32;

/// Pumps a session until it ends, and says why it did.
///
/// What it does is boxed while it is done, and the protocol exists while the client speaks, so that a session that waits
/// holds only what waiting needs. `head` is what came in with the handshake.
pub(super) async fn run(session: &mut WebSocketSession, head: Vec<u8>) -> Close {
    let connection = Arc::clone(session.connection());
    // The socket does not announce it.
    let mut readable = !head.is_empty();
    let mut protocol = readable.then(|| session.protocol(head));
    loop {
        match connection.todo() {
            Todo::Stop => return Close::Vanished,
            Todo::Close(close) => return close,
            Todo::StartAnew => session.server.0.sessions.drain().send_away(&*connection),
            Todo::Judge => {
                let span = session.span();
                readable = Box::pin(judge(session, &mut protocol, readable).instrument(span)).await;
            }
            Todo::CatchUp(_) => {
                let span = session.span();
                readable = Box::pin(catch_up(session, &mut protocol, readable).instrument(span)).await;
            }
            Todo::Wait { blocked, full: false } if readable => {
                // A client that goes on speaking is never waited for.
                if blocked && connection.socket().is_writable() {
                    connection.flush();
                }
                let span = session.span();
                readable = Box::pin(listen(session, &mut protocol).instrument(span)).await;
            }
            Todo::Wait { blocked, full: true } => {
                // What was readable is so afterwards: what came with the handshake, nothing announces again.
                if protocol.is_some() {
                    // In a box: most who wait began no message.
                    Box::pin(unheard(&mut protocol, wait(&connection, blocked, true))).await;
                } else {
                    wait(&connection, blocked, true).await;
                }
            }
            Todo::Wait { blocked, full: false } => {
                let deadline = protocol.as_ref().and_then(|speaking| deadline(session, speaking));
                readable = match deadline {
                    None => wait(&connection, blocked, false).await,
                    // In a box: most who wait wait for no end of a message.
                    Some(deadline) => Box::pin(wait_until(deadline, &connection, blocked)).await,
                }
            }
        }
    }
}

/// Does what the client is not listened to meanwhile: that takes nothing of the time that its message has.
async fn unheard<T>(protocol: &mut Option<Box<Protocol>>, doing: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let done = doing.await;
    if let Some(speaking) = protocol {
        speaking.put_off(began.elapsed());
    }
    done
}

/// Waits for whatever comes first, and closes the connection if that is the time at which a message should have ended. Answers
/// whether the client may have said something.
async fn wait_until(deadline: Instant, connection: &Connection, blocked: bool) -> bool {
    let waited = timeout_at(deadline, wait(connection, blocked, false)).await;
    waited.unwrap_or_else(|_| {
        connection.close(Close::Overdue);
        false
    })
}

/// Waits for whatever comes first. Answers whether the client may have said something.
async fn wait(connection: &Connection, blocked: bool, full: bool) -> bool {
    let socket = connection.socket();
    tokio::select! {
        () = connection.called() => false,
        _ = poll_fn(|cx| socket.poll_write_ready(cx)), if blocked => {
            connection.flush();
            false
        }
        _ = poll_fn(|cx| socket.poll_read_ready(cx)), if !full => true,
    }
}

/// Counts what is held of a message that the client did not finish yet, and says how the connection ends if that is too much or for
/// too long.
fn account(session: &WebSocketSession, protocol: &mut Protocol) -> Result<(), Close> {
    if let Err(denied) = protocol.account(|| session.charge()) {
        session.active.refused(&denied);
        return Err(Close::OverCapacity);
    }
    if is_overdue(session, protocol) { Err(Close::Overdue) } else { Ok(()) }
}

/// Whether the message that is unfinished should have been finished by now.
fn is_overdue(session: &WebSocketSession, protocol: &Protocol) -> bool {
    deadline(session, protocol).is_some_and(|deadline| deadline <= Instant::now())
}

/// When the message that is unfinished must be finished.
fn deadline(session: &WebSocketSession, protocol: &Protocol) -> Option<Instant> {
    // A time that is too long to be reached is no bound.
    protocol.unfinished_since()?.checked_add(session.message_timeout())
}

/// Listens to a client that speaks, for a turn. Answers whether there may be more.
async fn listen(session: &mut WebSocketSession, protocol: &mut Option<Box<Protocol>>) -> bool {
    // When everybody's network goes at once, whoever is still there must not wait until all are heard out.
    if session.connection().socket().has_hung_up() {
        drop(session.lifecycle_permit().await);
    }
    let speaking = protocol.get_or_insert_with(|| session.protocol(Vec::new()));
    let readable = take_turn(session, speaking).await.unwrap_or_else(|close| {
        session.connection().close(close);
        true
    });
    *protocol = protocol.take().filter(|protocol| readable || !protocol.is_idle());
    readable
}

/// Handles what the client said, up to a limit. Answers whether there may be more.
async fn take_turn(session: &mut WebSocketSession, protocol: &mut Protocol) -> Result<bool, Close> {
    for _ in 0..MESSAGES_PER_YIELD {
        // What a client said before it was replaced is not done after it.
        if !session.connection().is_open() {
            return Ok(false);
        }
        let Some(incoming) = protocol.next()? else {
            account(session, protocol)?;
            if protocol.take_spent() {
                break;
            }
            return Ok(false);
        };
        let continuations = protocol.take_continuations();
        let effects = effects(session, incoming, continuations)?;
        for effect in effects {
            carry_out(session, effect).await;
        }
    }
    yield_now().await;
    Ok(true)
}

/// What is to be done about what came in, in whose course so many frames came that continue a message.
fn effects(session: &mut WebSocketSession, incoming: Incoming, continuations: u32) -> Result<Vec<Effect>, Close> {
    let message = match (session.limit(incoming.length(), continuations), incoming) {
        (Decision::TooMany, _) => return Err(Close::TooMany),
        (_, Incoming::Control) => return Ok(Vec::new()),
        (Decision::Refused, _) => {
            let told = json::error(messages::TOO_MANY, session.active.now());
            return Ok(vec![Effect::Reply(told), Effect::Refused(gate::Error::MessageRate)]);
        }
        (Decision::Allowed, Incoming::Text(text)) => ClientMessage::parse(&text),
        (Decision::Allowed, Incoming::Binary(bytes)) => {
            let text = std::str::from_utf8(&bytes).map_err(|_| MessageError::NotJson);
            text.and_then(ClientMessage::parse)
        }
    };
    Ok(session.take_in(message))
}

async fn carry_out(session: &mut WebSocketSession, effect: Effect) {
    let active = &mut session.active;
    match effect {
        Effect::Reply(text) => active.handle().reply(frame::text(&text)),
        Effect::Relay(notice) => {
            if let Err(error) = active.relay(notice).await {
                active.refused(&gate::Error::by_journal(error.code(), &error));
                active.handle().reply(frame::text(&json::error(messages::NOT_RELAYED, active.now())));
            }
        }
        Effect::Enter(room) => {
            if let Err(error) = active.enter_room(&room).await {
                active.unserved(&error);
            }
        }
        Effect::Leave(room) => active.leave_room(&room),
        Effect::Refused(denied) => active.refused(&denied),
        Effect::Refresh(token) => active.handle().reply(frame::text(&active.refresh(&token))),
    }
}

/// Listens to a client that has not answered a ping, and closes the connection if it is silent indeed: what it says may have waited
/// to be read. Answers whether there may be more.
async fn judge(session: &mut WebSocketSession, protocol: &mut Option<Box<Protocol>>, readable: bool) -> bool {
    // What came until now is known behind a turn of others.
    yield_now().await;
    let readable = readable || is_readable(session.connection()).await;
    let left = readable && listen(session, protocol).await;
    session.connection().judge(!left);
    left
}

/// Listens to a client that said something, for a turn, and reads a page of what it missed: one that lags is heard however long that
/// lasts, and one that speaks catches up. Answers whether it may have said something since.
async fn catch_up(session: &mut WebSocketSession, protocol: &mut Option<Box<Protocol>>, readable: bool) -> bool {
    let connection = Arc::clone(session.connection());
    let left = readable && listen(session, protocol).await;
    // What it said may be answered, and the answer wait; or it was its last.
    let Todo::CatchUp(cursor) = connection.todo() else { return left };
    let began = Instant::now();
    read_page(session, cursor).await;
    yield_now().await;
    let readable = left || is_readable(&connection).await;
    if let Some(speaking) = protocol {
        if readable {
            // It waited for its turn, and not for its client.
            speaking.put_off(began.elapsed());
        } else if is_overdue(session, speaking) {
            connection.close(Close::Overdue);
        }
    }
    readable
}

/// Whether the client said something, as far as is known now.
async fn is_readable(connection: &Connection) -> bool {
    poll_fn(|cx| Poll::Ready(connection.socket().poll_read_ready(cx).is_ready())).await
}

/// Queues the next page of what the client missed. A session that is closed meanwhile does not wait for what the journal still reads.
async fn read_page(session: &WebSocketSession, cursor: Seq) {
    let connection = session.connection();
    let mut reading = pin!(session.read_on(cursor));
    let page = loop {
        tokio::select! {
            page = &mut reading => break page,
            () = connection.called() => if !connection.is_open() {
                return;
            }
        }
    };
    match page {
        Ok(page) => connection.fill(page),
        Err(error) => session.active.unserved(&error),
    }
}
