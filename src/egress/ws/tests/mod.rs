//! What a connection takes of memory while nothing happens, and what becomes of it while the journal hangs.

mod hung;

use std::mem::size_of;

use crate::egress::ws::{Connection, open};

/// How large the future is that `begin` begins.
fn size_of_future<A, B, F: Future>(_: impl Fn(A, B) -> F) -> usize {
    size_of::<F>()
}

/// What a connection and its task took when this was first written.
const FIRST: usize = 768;

/// So much more they may take.
const ROOM: usize = 24;

// There may be a hundred thousand connections that only wait. What exists while a client speaks belongs in a box.
#[test]
fn an_idle_connection_does_not_grow_unseen() {
    let (connection, task) = (size_of::<Connection>(), size_of_future(open::go_on));
    assert!(connection + task <= FIRST + ROOM, "a connection takes {connection} bytes and its task {task}");
}
