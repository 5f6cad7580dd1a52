//! The task of a session: it waits for whatever is next and does it.

use std::{future::poll_fn, sync::Arc};

use bytes::Bytes;
use tokio::{
    task::yield_now,
    time::{Instant, timeout, timeout_at},
};
use tracing::Instrument;

use crate::{
    egress::{
        catch_up,
        session::{machine::Effect, registry::Owner},
        ws::{
            CLOSE_TIMEOUT, Connection,
            connection::Todo,
            message_limiter::Verdict,
            open::Live,
            protocol::{Incoming, Protocol},
        },
    },
    gate::{Denied, Permit, TokenError},
    rooms::Member,
    wire::{frame, status::Close, text},
};

/// How many messages of a client are handled before other tasks get their turn.
const MESSAGES_PER_TURN: usize = 32;

/// How often a client is read whose connection is closing. One that sends so much behind its end does not listen.
const READS_OF_SCRAP: usize = 2_048;

/// What a client is told whose message is one too many.
const TOO_MANY: &str = "Demasiados mensajes: este no se ha atendido; espera un momento";

/// Pumps a session until it ends, and says why it did.
///
/// What it does is boxed while it is done, and the protocol exists while the client speaks, so that a session that waits
/// holds only what waiting needs. `head` is what came in with the handshake.
pub(super) async fn run(live: &mut Live, head: Vec<u8>) -> Close {
    let connection = Arc::clone(&live.connection);
    // The socket does not announce it.
    let mut readable = !head.is_empty();
    let mut protocol = readable.then(|| live.protocol(head));
    loop {
        match connection.todo() {
            Todo::Stop => return Close::Vanished,
            Todo::Close(close) => return close,
            Todo::CatchUp(cursor) => {
                let span = live.span();
                Box::pin(unheard(&mut protocol, catch_up(live, cursor).instrument(span))).await;
                yield_now().await;
            }
            Todo::Wait { full: false, .. } if readable => {
                // When everybody's network goes at once, whoever is still there must not wait until all are heard out.
                if connection.socket().has_hung_up() {
                    drop(live.sockets.turn().await);
                }
                let speaking = protocol.get_or_insert_with(|| live.protocol(Vec::new()));
                let span = live.span();
                match Box::pin(take_turn(live, speaking).instrument(span)).await {
                    Ok(more) => readable = more,
                    Err(close) => connection.close(close),
                }
                protocol = protocol.filter(|protocol| readable || !protocol.is_idle());
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
                let deadline = protocol.as_ref().and_then(|speaking| deadline(live, speaking));
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
fn account(live: &Live, protocol: &mut Protocol) -> Result<(), Close> {
    // Only a token says for certain who the user is.
    let user = live.session.permit().identity().and_then(|identity| identity.user());
    if let Err(denied) = protocol.account(|| live.sockets.0.gate.charge(live.address, user)) {
        live.refused(&denied);
        return Err(Close::OverCapacity);
    }
    let is_overdue = deadline(live, protocol).is_some_and(|deadline| deadline <= Instant::now());
    if is_overdue { Err(Close::Overdue) } else { Ok(()) }
}

/// When the message that is unfinished must be finished.
fn deadline(live: &Live, protocol: &Protocol) -> Option<Instant> {
    // A time that is too long to be reached is no bound.
    protocol.unfinished_since()?.checked_add(live.sockets.0.gate.message_timeout())
}

/// Handles what the client said, up to a limit. Answers whether there may be more.
async fn take_turn(live: &mut Live, protocol: &mut Protocol) -> Result<bool, Close> {
    for _ in 0..MESSAGES_PER_TURN {
        // What a client said before it was replaced is not done after it.
        if !live.connection.is_open() {
            return Ok(false);
        }
        let Some(incoming) = protocol.next()? else {
            account(live, protocol)?;
            if protocol.take_spent() {
                break;
            }
            return Ok(false);
        };
        let now = live.now();
        let rate = live.sockets.0.options.message_rate.0;
        let verdict = live.allowance.take(rate, incoming.length(), protocol.take_continuations());
        let effects = match (verdict, incoming) {
            (Verdict::TooMany, _) => return Err(Close::TooMany),
            (_, Incoming::Control) => continue,
            (Verdict::Refused, _) => {
                vec![Effect::Reply(text::error(TOO_MANY, now)), Effect::Refused(Denied::MessageRate)]
            }
            (Verdict::Allowed, Incoming::Text(text)) => live.session.on_text(&text, now),
            (Verdict::Allowed, Incoming::Binary(bytes)) => live.session.on_binary(&bytes, now),
        };
        for effect in effects {
            carry_out(live, effect).await;
        }
    }
    yield_now().await;
    Ok(true)
}

async fn carry_out(live: &mut Live, effect: Effect) {
    match effect {
        Effect::Reply(text) => live.connection.reply(frame::text(&text)),
        Effect::Relay(room, text) => live.relay(&room, &text).await,
        Effect::Enter(room) => {
            live.connection.set_rooms(live.session.rooms());
            live.enter_room(&room);
        }
        Effect::Leave(room) => {
            live.connection.set_rooms(live.session.rooms());
            live.leave_room(&room);
        }
        Effect::Refused(denied) => live.refused(&denied),
        Effect::Refresh(token) => {
            let answer = refresh(live, &token);
            live.connection.reply(frame::text(&answer));
        }
    }
}

/// Goes on under `token`, if it is good, of the same user, and allows what the client listens to. Gives the answer.
fn refresh(live: &mut Live, token: &str) -> Bytes {
    let now = live.now();
    let identified = live.sockets.0.gate.identify(token, live.address).map(Permit::of);
    // One that is over and still believed, since clocks differ, would only begin the grace anew.
    let fresh = identified.and_then(|permit| match permit.is_over(now.timestamp()) {
        true => Err(Denied::Unauthenticated(Some(TokenError::Expired))),
        false => Ok(permit),
    });
    let permit = match fresh {
        Ok(permit) => permit,
        Err(denied) => {
            live.refused(&denied);
            return text::error("El token no es válido", now);
        }
    };
    let user = live.connection.user_id().cloned();
    // Where tokens say whose a client id is, it stays of whom it is.
    let changes_hands =
        live.sockets.0.gate.knows_subscribers() && Owner::new(&permit, user.clone()) != live.connection.owner();
    let is_same_user = permit.user(user.clone()).ok() == Some(user);
    if !is_same_user || changes_hands || live.session.renew(permit.clone()).is_err() {
        return text::error("El token no permite seguir en esta conexión", now);
    }
    let expires_at = permit.identity().and_then(|identity| identity.expires_at);
    live.connection.renew(permit.clone());
    live.close_if_revoked(&permit);
    text::token_refreshed(expires_at, now)
}

async fn catch_up(live: &Live, cursor: u64) {
    let sockets = &live.sockets.0;
    let max_bytes = sockets.options.send_queue_bytes.get();
    match catch_up::read_on(&*sockets.journal, Some(live.audiences()), cursor, max_bytes, |kept| kept.into()).await {
        Ok(filling) => live.connection.fill(filling),
        Err(error) => {
            live.refused(&Denied::by_journal(error.code(), &error));
            live.connection.close(Close::unread(error.code()));
        }
    }
}

/// Writes what is left, up to the close frame, and waits for the client to hang up; not for long.
pub(super) async fn say_goodbye(connection: &Connection) {
    let socket = connection.socket();
    let goodbye = async {
        while !connection.is_drained() {
            if connection.todo() == Todo::Stop || poll_fn(|cx| socket.poll_write_ready(cx)).await.is_err() {
                return;
            }
            connection.flush();
        }
        // Nothing more will be written. The client sees the end even if it never answers the close frame.
        if socket.shut_down().await.is_err() {
            return;
        }
        let mut scrap = [0; 512];
        for _ in 0..READS_OF_SCRAP {
            if poll_fn(|cx| socket.poll_read_ready(cx)).await.is_err() {
                return;
            }
            match socket.try_read(&mut scrap) {
                Ok(0) => return,
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
                // A client that floods is read no faster than others get their turn, and hung up on in time.
                _ => yield_now().await,
            }
        }
    };
    // A client that does not hang up is hung up on.
    let _ = timeout(CLOSE_TIMEOUT, goodbye).await;
}
