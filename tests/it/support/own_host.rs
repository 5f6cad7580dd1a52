//! Addresses of this machine that are one test's alone.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// A host of this machine that no other test uses, and from which nobody connects: a port of it that was free stays so, also
/// while whoever is to listen there has not begun, or begins anew.
pub(crate) fn own_host() -> Ipv4Addr {
    static HOSTS: AtomicU32 = AtomicU32::new(0);
    let number = (process::id() << 8) | (HOSTS.fetch_add(1, Ordering::Relaxed) & 0xff);
    // The upper half of what is loopback, of which the lower is where everybody else is.
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 128, 0, 0).to_bits() | (number & 0x3f_ffff))
}

/// Where `N` can listen on `host` who are to be told a port.
pub(crate) fn free_addresses<const N: usize>(host: Ipv4Addr) -> [SocketAddr; N] {
    // All are held until each has its own.
    let held = [(); N].map(|()| TcpListener::bind((host, 0)).expect("a port"));
    held.map(|listener| listener.local_addr().expect("it is bound"))
}
