//! What can go wrong, as a caller sees it.

/// The kinds of failure that callers can tell apart. Only `wire::status` turns one into a gRPC code, an HTTP
/// status or a close code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The request cannot be read: not JSON, not UTF-8.
    Malformed,
    /// The request can be read, and a field of it is wrong.
    Invalid,
    /// There is no valid credential.
    Unauthenticated,
    /// The credential is valid, and does not allow this.
    Forbidden,
    /// The thing asked for is not there.
    NotFound,
    /// The thing asked for is there, and this cannot be done with it.
    NotAllowed,
    /// What the request is written in, or the way in which it was sent, is none that the service takes.
    Unsupported,
    /// There is no such operation.
    Unimplemented,
    /// The address speaks another protocol, to which the connection must be upgraded.
    UpgradeRequired,
    /// The request did not come, or was not answered, in the time that there was for it.
    Timeout,
    /// The idempotency key was used for another content, or the name is another user's.
    Conflict,
    /// The request is larger than the limit.
    TooLarge,
    /// The caller asks for too much at once, or too often; try again later.
    TooMany,
    /// The service cannot keep up; try again later.
    Exhausted,
    /// The service is going away or its store is; try again later.
    Unavailable,
    /// The position asked for is no longer, or not yet, in the journal.
    OutOfRange,
    /// Something that should have been delivered will not come.
    DataLoss,
    /// The fault is ours.
    Internal,
}
