//! What a connection takes of memory while nothing happens, and what becomes of it while the journal hangs.

mod hung;

use std::mem::size_of;

use crate::egress::ws::{Connection, open};

/// How large the future is that `begin` begins.
fn size_of_future<A, B, F: Future>(_: impl Fn(A, B) -> F) -> usize {
    size_of::<F>()
}

/// What a connection took when this was written.
const CONNECTION: usize = 328;
const TASK: usize = 384;

/// So much more it may take. Of this, 40 bytes are what a journal of several nodes needs: where delivery began, the epoch of the
/// places that the client was told of, and what it attends to; the allocator gives a connection and a task no more for them.
const ROOM: usize = 48;

// There may be a hundred thousand connections that only wait. What exists while a client speaks belongs in a box.
#[test]
fn an_idle_connection_does_not_grow_unseen() {
    let (connection, task) = (size_of::<Connection>(), size_of_future(open::go_on));
    assert!(connection + task <= CONNECTION + TASK + ROOM, "a connection takes {connection} bytes and its task {task}");
}
