//! The one table of failures: what a code is over gRPC and over HTTP, and the codes a WebSocket is closed with.

use std::{collections::HashMap, time::Duration};

use http::StatusCode;
use tonic::metadata::MetadataValue;
use tonic_types::{ErrorDetails, StatusExt};

use crate::domain::{Code, Seq};

/// How long a caller is asked to wait before it tries again.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The gRPC code.
pub fn grpc_code(code: Code) -> tonic::Code {
    match code {
        Code::Malformed | Code::Invalid => tonic::Code::InvalidArgument,
        Code::Unauthenticated => tonic::Code::Unauthenticated,
        Code::Forbidden => tonic::Code::PermissionDenied,
        Code::NotFound => tonic::Code::NotFound,
        Code::NotAllowed | Code::UpgradeRequired => tonic::Code::FailedPrecondition,
        Code::Unsupported | Code::Unimplemented => tonic::Code::Unimplemented,
        Code::Timeout => tonic::Code::DeadlineExceeded,
        Code::Conflict => tonic::Code::AlreadyExists,
        Code::TooLarge | Code::TooMany | Code::Exhausted => tonic::Code::ResourceExhausted,
        Code::Unavailable => tonic::Code::Unavailable,
        Code::OutOfRange => tonic::Code::OutOfRange,
        Code::DataLoss => tonic::Code::DataLoss,
        Code::Internal => tonic::Code::Internal,
    }
}

/// The HTTP status.
pub fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Malformed => StatusCode::BAD_REQUEST,
        Code::Invalid | Code::OutOfRange => StatusCode::UNPROCESSABLE_ENTITY,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::NotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::Timeout => StatusCode::REQUEST_TIMEOUT,
        Code::Unsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Conflict => StatusCode::CONFLICT,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::TooMany => StatusCode::TOO_MANY_REQUESTS,
        Code::Exhausted | Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DataLoss | Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// When the caller may try again, if that can help.
pub fn retry_after(code: Code) -> Option<Duration> {
    matches!(code, Code::TooMany | Code::Exhausted | Code::Unavailable).then_some(RETRY_AFTER)
}

/// The gRPC status of a failure, with `google.rpc` details: the field that is wrong, when to try again.
pub fn grpc_status(code: Code, message: impl Into<String>, field: Option<&str>) -> tonic::Status {
    let message = message.into();
    let mut details = ErrorDetails::new();
    if let Some(field) = field {
        details.add_bad_request_violation(field, &message);
    }
    if let Some(delay) = retry_after(code) {
        details.set_retry_info(Some(delay));
    }
    tonic::Status::with_error_details(grpc_code(code), message, details)
}

/// Makes a status that also says how long the caller must wait.
pub fn grpc_status_after(code: Code, message: impl Into<String>, delay: Duration) -> tonic::Status {
    tonic::Status::with_error_details(grpc_code(code), message, ErrorDetails::with_retry_info(Some(delay)))
}

/// The gRPC status of a failure of which there is no more to say than its text.
pub fn grpc_plain(code: Code, message: impl Into<String>) -> tonic::Status {
    tonic::Status::new(grpc_code(code), message)
}

/// The end of a stream whose deadline is over.
pub fn grpc_over() -> tonic::Status {
    grpc_plain(Code::Timeout, "the deadline of the call is over")
}

/// The end of a call whose request was not sent within `time`, a limit that `setting` has.
pub fn grpc_too_late(setting: &str, time: Duration) -> tonic::Status {
    let message = format!("the request did not come within {time:?} ({setting}); send each message in one go");
    grpc_plain(Code::Timeout, message)
}

/// Who gives the reasons in the details of a status their meaning.
const DOMAIN: &str = "exposia.notifications.v1";

/// How large something may be.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// The largest size, in bytes.
    pub bytes: usize,
    /// What limit that is.
    pub name: &'static str,
}

/// Tells a client that it must not try again, whatever its policy says of RESOURCE_EXHAUSTED.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// The refusal of `what` is larger than its limit. The details tell it from overload: BadRequest names the `field`, which is empty
/// for the whole message, an ErrorInfo has the limit, and there is no RetryInfo. `field` is none where no message is at fault.
pub fn grpc_too_large(what: &str, limit: Limit, field: Option<&str>) -> tonic::Status {
    let Limit { bytes, name } = limit;
    let message = format!("{what} must have at most {bytes} bytes ({name}); send less");
    let metadata = HashMap::from([("max_bytes".to_owned(), bytes.to_string()), ("limit".to_owned(), name.to_owned())]);
    let mut details = ErrorDetails::with_error_info("TOO_LARGE", DOMAIN, metadata);
    if let Some(field) = field {
        details.add_bad_request_violation(field, &message);
    }
    let mut status = tonic::Status::with_error_details(grpc_code(Code::TooLarge), message, details);
    status.metadata_mut().insert(PUSHBACK, MetadataValue::from_static("-1"));
    status
}

/// The end of a stream before a gap: what lies from `from` to `to`, both included, will not come. The details say so to programs.
pub fn grpc_gap(from: Seq, to: Seq) -> tonic::Status {
    let message = format!(
        "what lies from {from} to {to} is gone or cannot be read; to go on behind it, subscribe again with {to} as the sequence of `since`"
    );
    let metadata = HashMap::from([("from".to_owned(), from.to_string()), ("to".to_owned(), to.to_string())]);
    tonic::Status::with_error_details(
        grpc_code(Code::DataLoss),
        message,
        ErrorDetails::with_error_info("GAP", DOMAIN, metadata),
    )
}

/// The refusal of a stream that was to begin behind `since`, while nothing before `oldest` is kept. The details say so to programs.
pub fn grpc_too_old(since: Seq, oldest: Seq) -> tonic::Status {
    let (from, to) = (since.saturating_add(1), oldest.saturating_sub(1));
    let message = format!(
        "what lies from {from} to {to} is no longer kept; subscribe with {to} as the sequence of `since`, or without `since`"
    );
    let places = [("from", from), ("to", to), ("oldest", oldest)];
    let metadata: HashMap<_, _> = places.map(|(name, place)| (name.to_owned(), place.to_string())).into();
    let mut details = ErrorDetails::with_error_info("TOO_OLD", DOMAIN, metadata);
    details.add_bad_request_violation("since", &message);
    tonic::Status::with_error_details(grpc_code(Code::OutOfRange), message, details)
}

/// The status of the contract for a message that tonic could not read. tonic says OUT_OF_RANGE for one that is too large, and
/// INTERNAL for one that is no protobuf or nests too deep; neither would tell the client that the message is at fault.
pub fn unreadable(status: &tonic::Status) -> Option<tonic::Status> {
    let message = status.message();
    match status.code() {
        tonic::Code::OutOfRange if message.contains("message length too large") => {
            let digits = message.rsplit(|character: char| !character.is_ascii_digit());
            let bytes = digits.filter_map(|number| number.parse().ok()).next().unwrap_or_default();
            Some(grpc_too_large("a message", Limit { bytes, name: "MAX_BODY_BYTES" }, Some("")))
        }
        tonic::Code::Internal if message.starts_with("failed to decode Protobuf message") => {
            Some(cannot_be_decoded(message))
        }
        _ => None,
    }
}

/// The status of the contract for a message that is no protobuf, or nests too deep.
pub fn undecodable(error: &prost::DecodeError) -> tonic::Status {
    cannot_be_decoded(&error.to_string())
}

fn cannot_be_decoded(error: &str) -> tonic::Status {
    // The rest is the path to the fault, which is as deep as the message.
    let fault = error.rsplit(": ").next().unwrap_or_default();
    grpc_status(Code::Invalid, format!("the message cannot be decoded: {fault}"), None)
}

/// Why a WebSocket ends. 1001 asks the client to reconnect; 4000 to 4099 not to; 4100 to 4199 to do so later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// The client closed, and has its answer.
    ByClient,
    /// The client's end is gone.
    Vanished,
    /// The client broke the protocol.
    BadProtocol,
    /// A text of the client is not UTF-8.
    NotUtf8,
    /// A message of the client is larger than the limit.
    TooBig,
    /// The server is going away.
    GoingAway,
    /// A newer connection has the same client id.
    Replaced,
    /// The client's token expired and was not replaced in time.
    Expired,
    /// The client's token, or its user, was revoked.
    Revoked,
    /// Somebody with the admin grant closed the connection.
    Disconnected,
    /// The client sends more than it may, and was told.
    TooMany,
    /// A message of the client comes in more fragments than the limit.
    TooManyFragments,
    /// A message of the client was not finished in time.
    Overdue,
    /// The client does not answer pings.
    Unresponsive,
    /// The client does not take what it is sent.
    TooSlow,
    /// The service holds as much of what is unfinished as it may.
    OverCapacity,
    /// What the client missed cannot be read now.
    Unreadable,
    /// What the client missed cannot be read, and coming back will hardly help.
    Internal,
}

impl Close {
    /// How a session ends for which the journal could not be read: whoever comes back may find that it can be again, unless
    /// what is kept makes no sense.
    pub fn unread(code: Code) -> Self {
        if code == Code::Unavailable { Self::Unreadable } else { Self::Internal }
    }

    /// The code and the reason of the close frame; `None` when none is due.
    pub fn frame(self) -> Option<(u16, &'static str)> {
        match self {
            Self::ByClient | Self::Vanished => None,
            Self::BadProtocol => Some((1002, "protocol error")),
            Self::NotUtf8 => Some((1007, "text is not UTF-8")),
            Self::TooBig => Some((1009, "message too large")),
            Self::Internal => Some((1011, "internal error")),
            Self::GoingAway => Some((1001, "the server is going away")),
            Self::Replaced => Some((4001, "replaced by a newer connection")),
            Self::Expired => Some((4003, "the token expired")),
            Self::Revoked => Some((4003, "the token was revoked")),
            Self::Disconnected => Some((4003, "disconnected by an administrator")),
            Self::TooMany => Some((4008, "too many messages")),
            Self::TooManyFragments => Some((4008, "too many fragments")),
            Self::OverCapacity => Some((4100, "over capacity")),
            Self::Unresponsive => Some((4101, "no answer to a ping")),
            Self::TooSlow => Some((4101, "too slow")),
            // The network may have stalled in the middle of it.
            Self::Overdue => Some((4101, "a message was not finished in time")),
            Self::Unreadable => Some((4102, "the journal cannot be read now")),
        }
    }

    /// A short name for logs and counters.
    pub fn label(self) -> &'static str {
        match self {
            Self::ByClient => "by_client",
            Self::Vanished => "vanished",
            Self::BadProtocol => "bad_protocol",
            Self::NotUtf8 => "not_utf8",
            Self::TooBig => "too_big",
            Self::GoingAway => "going_away",
            Self::Replaced => "replaced",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Disconnected => "disconnected",
            Self::TooMany => "too_many",
            Self::TooManyFragments => "too_many_fragments",
            Self::Overdue => "overdue",
            Self::Unresponsive => "unresponsive",
            Self::TooSlow => "too_slow",
            Self::OverCapacity => "over_capacity",
            Self::Unreadable => "unreadable",
            Self::Internal => "internal",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_row() {
        use tonic::Code as Grpc;
        let table = [
            (Code::Malformed, Grpc::InvalidArgument, 400, false),
            (Code::Invalid, Grpc::InvalidArgument, 422, false),
            (Code::Unauthenticated, Grpc::Unauthenticated, 401, false),
            (Code::Forbidden, Grpc::PermissionDenied, 403, false),
            (Code::NotFound, Grpc::NotFound, 404, false),
            (Code::NotAllowed, Grpc::FailedPrecondition, 405, false),
            (Code::Unsupported, Grpc::Unimplemented, 415, false),
            (Code::Unimplemented, Grpc::Unimplemented, 501, false),
            (Code::UpgradeRequired, Grpc::FailedPrecondition, 426, false),
            (Code::Timeout, Grpc::DeadlineExceeded, 408, false),
            (Code::Conflict, Grpc::AlreadyExists, 409, false),
            (Code::TooLarge, Grpc::ResourceExhausted, 413, false),
            (Code::TooMany, Grpc::ResourceExhausted, 429, true),
            (Code::Exhausted, Grpc::ResourceExhausted, 503, true),
            (Code::Unavailable, Grpc::Unavailable, 503, true),
            (Code::OutOfRange, Grpc::OutOfRange, 422, false),
            (Code::DataLoss, Grpc::DataLoss, 500, false),
            (Code::Internal, Grpc::Internal, 500, false),
        ];
        for (code, grpc, http, retry) in table {
            assert_eq!((grpc_code(code), http_status(code).as_u16()), (grpc, http), "{code:?}");
            assert_eq!(retry_after(code).is_some(), retry, "{code:?}");
        }
    }

    #[test]
    fn what_is_too_large_is_told_from_overload() {
        let status = tonic::Status::out_of_range(
            "Error, decoded message length too large: found 70 bytes, the limit is: 64 bytes",
        );
        let status = unreadable(&status).expect("a status of the contract");
        let details = status.get_error_details();
        assert_eq!(details.error_info().expect("an error info").metadata["max_bytes"], "64");
        assert_eq!(details.bad_request().expect("a bad request").field_violations[0].field, "");
        assert!(details.retry_info().is_none());
        assert_eq!(status.metadata().get(PUSHBACK).map(MetadataValue::as_bytes), Some(&b"-1"[..]));
    }

    #[test]
    fn a_grpc_status_names_the_field_and_when_to_try_again() {
        let details = grpc_status(Code::Invalid, "must not be empty", Some("event")).get_error_details();
        let violations = &details.bad_request().expect("a bad request").field_violations;
        assert_eq!((violations[0].field.as_str(), violations[0].description.as_str()), ("event", "must not be empty"));
        let details = grpc_status(Code::Exhausted, "full", None).get_error_details();
        assert_eq!(details.retry_info().expect("a retry info").retry_delay, Some(RETRY_AFTER));
    }
}
