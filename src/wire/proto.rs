//! The protobuf messages, and the way between them and the domain.

use std::{fmt::Write, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use prost_types::{Struct, Timestamp, Value, value::Kind};

use crate::domain::{
    Audiences, Code, Draft, DraftFields, Durability, EphemeralEvent, Epoch, Event, EventError, FieldNames,
    IdempotencyKey, KeyOwner, Notification, Payload, PayloadError, TargetError,
};

/// What `build.rs` makes of `notifications.proto`.
#[allow(missing_docs, unreachable_pub, clippy::large_enum_variant)]
pub mod v1 {
    tonic::include_proto!("exposia.notifications.v1");
    include!(concat!(env!("OUT_DIR"), "/clients/exposia.notifications.v1.rs"));
}

/// The descriptors of the proto, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Why a message cannot become a draft.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A text is missing or too long.
    #[error(transparent)]
    Event(#[from] EventError),
    /// `payload_json` is not a payload.
    #[error("payload_json: {0}")]
    Payload(#[from] PayloadError),
    /// `payload` is not a payload.
    #[error("payload: {0}")]
    Structure(PayloadError),
    /// `payload` has a number that JSON does not have.
    #[error("payload: NaN and Infinity have no JSON form")]
    NotFinite,
    /// `payload` has a value of no kind.
    #[error("payload: a value has no kind")]
    NoKind,
    /// The target is wrong.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The durability is not one.
    #[error("durability: is none of the values of Durability")]
    Durability,
    /// The timestamp is out of range.
    #[error("timestamp: must lie between the years 1 and 9999")]
    Timestamp,
}

impl Error {
    /// The error as callers see it.
    pub fn code(&self) -> Code {
        Code::Invalid
    }

    /// The field that is wrong.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Event(error) => error.field(),
            Self::Payload(_) => "payload_json",
            Self::Structure(_) | Self::NotFinite | Self::NoKind => "payload",
            Self::Target(_) => "target",
            Self::Durability => "durability",
            Self::Timestamp => "timestamp",
        }
    }
}

/// The event of a request to publish, whose idempotency key is one of `owner`. `names` are the fields of a payload by which it may be
/// routed.
pub fn draft_from(request: v1::PublishRequest, owner: KeyOwner, names: &FieldNames) -> Result<Draft, Error> {
    let (payload, identifiers) = match request.body {
        None => (payload_from(&Struct::default())?, None),
        Some(v1::publish_request::Body::Payload(payload)) => (payload_from(&payload)?, None),
        // Copied, for it would keep the buffer alive that the connection read it into.
        Some(v1::publish_request::Body::PayloadJson(text)) => {
            let (payload, identifiers) = Payload::read(&text, names, 0)?;
            (payload, Some(identifiers))
        }
    };
    Ok(Draft::new(DraftFields {
        name: request.event.into(),
        payload,
        source: Some(request.source).filter(|source| !source.is_empty()).map(Into::into),
        timestamp: request.timestamp.map(timestamp_text).transpose()?,
        idempotency_key: IdempotencyKey::new(owner, request.idempotency_key),
        target: request.target.as_ref().map(audiences_from).transpose()?,
        durability: durability_from(request.durability)?,
        ttl: request.ttl.map(ttl_from).transpose()?,
        identifiers,
    })?)
}

/// The field that a publish takes its audience from, where it has no target: its body, or without one its event.
pub fn routed_by(request: &v1::PublishRequest) -> &'static str {
    match &request.body {
        Some(v1::publish_request::Body::Payload(_)) => "payload",
        Some(v1::publish_request::Body::PayloadJson(_)) => "payload_json",
        None => "event",
    }
}

/// A duration whose two parts are what they should be: prost would bring others into order.
fn ttl_from(ttl: prost_types::Duration) -> Result<Duration, EventError> {
    let in_order = ttl.seconds >= 0 && (0..1_000_000_000).contains(&ttl.nanos);
    Duration::try_from(ttl).ok().filter(|_| in_order).ok_or(EventError::Ttl)
}

/// The event of a question about routing, and the field that it is routed by.
pub fn explain_request(request: v1::ExplainRouteRequest, names: &FieldNames) -> Result<(Draft, &'static str), Error> {
    use v1::explain_route_request::Body;
    let body = request.body.map(|body| match body {
        Body::Payload(payload) => v1::publish_request::Body::Payload(payload),
        Body::PayloadJson(text) => v1::publish_request::Body::PayloadJson(text),
    });
    let publish = v1::PublishRequest { event: request.event, body, target: request.target, ..Default::default() };
    let routed_by = routed_by(&publish);
    Ok((draft_from(publish, KeyOwner::NOBODY, names)?, routed_by))
}

fn durability_from(durability: i32) -> Result<Option<Durability>, Error> {
    Ok(match v1::Durability::try_from(durability).map_err(|_| Error::Durability)? {
        v1::Durability::Unspecified => None,
        v1::Durability::Ephemeral => Some(Durability::Ephemeral),
        v1::Durability::Memory => Some(Durability::Memory),
        v1::Durability::Process => Some(Durability::Process),
        v1::Durability::Fsync => Some(Durability::Fsync),
    })
}

/// A durability as the message has it.
pub fn durability_to(durability: Option<Durability>) -> v1::Durability {
    match durability {
        None => v1::Durability::Unspecified,
        Some(Durability::Ephemeral) => v1::Durability::Ephemeral,
        Some(Durability::Memory) => v1::Durability::Memory,
        Some(Durability::Process) => v1::Durability::Process,
        Some(Durability::Fsync) => v1::Durability::Fsync,
    }
}

fn audiences_from(target: &v1::Target) -> Result<Audiences, Error> {
    Ok(Audiences::from_target(target.everyone, &target.users, &target.rooms)?)
}

/// Audiences as a target.
pub fn target_from(audiences: &Audiences) -> v1::Target {
    v1::Target {
        users: audiences.users().map(ToString::to_string).collect(),
        rooms: audiences.rooms().map(ToString::to_string).collect(),
        everyone: audiences.everyone(),
    }
}

/// A notification as services see it.
pub fn notification_from(notification: &Notification) -> v1::Notification {
    let Notification { seq, epoch, event, audiences, .. } = notification;
    v1::Notification { id: notification.id(), sequence: *seq, ..message(event, audiences, epoch) }
}

/// An event that is not kept, as services see it.
pub fn notification_from_ephemeral(event: &EphemeralEvent, audiences: &Audiences, epoch: &Epoch) -> v1::Notification {
    v1::Notification { id: event.id.to_string(), ..message(&event.event, audiences, epoch) }
}

fn message(event: &Event, audiences: &Audiences, epoch: &Epoch) -> v1::Notification {
    v1::Notification {
        id: String::new(),
        sequence: 0,
        epoch: epoch.to_string(),
        event: event.name.to_string(),
        payload_json: event.payload.as_bytes().clone(),
        timestamp: event.timestamp.to_string(),
        source: event.source.to_string(),
        audience: Some(target_from(audiences)),
    }
}

/// A point in time.
pub fn time_from(timestamp: Timestamp) -> Result<DateTime<Utc>, Error> {
    let nanos = u32::try_from(timestamp.nanos).map_err(|_| Error::Timestamp)?;
    DateTime::from_timestamp(timestamp.seconds, nanos).filter(in_range).ok_or(Error::Timestamp)
}

fn timestamp_text(timestamp: Timestamp) -> Result<Box<str>, Error> {
    let time = time_from(timestamp)?;
    let format = if time.timestamp_subsec_nanos() % 1_000_000 == 0 {
        chrono::SecondsFormat::Millis
    } else {
        chrono::SecondsFormat::Nanos
    };
    Ok(time.to_rfc3339_opts(format, true).into())
}

/// The range of google.protobuf.Timestamp, which is also that of RFC 3339 but for the year 0.
fn in_range(time: &DateTime<Utc>) -> bool {
    (1..=9999).contains(&chrono::Datelike::year(time))
}

fn payload_from(payload: &Struct) -> Result<Payload, Error> {
    let mut text = String::new();
    write_struct(&mut text, payload)?;
    Payload::from_checked(Bytes::from(text)).map_err(Error::Structure)
}

/// Writes a structure as JSON, its keys in order. Its depth is bounded: prost reads at most 100 levels.
fn write_struct(text: &mut String, fields: &Struct) -> Result<(), Error> {
    text.push('{');
    for (place, (key, value)) in fields.fields.iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        write_string(text, key);
        text.push(':');
        write_value(text, value)?;
    }
    text.push('}');
    Ok(())
}

fn write_value(text: &mut String, value: &Value) -> Result<(), Error> {
    match value.kind.as_ref().ok_or(Error::NoKind)? {
        Kind::NullValue(_) => text.push_str("null"),
        Kind::BoolValue(value) => text.push_str(if *value { "true" } else { "false" }),
        Kind::NumberValue(number) => write_number(text, *number)?,
        Kind::StringValue(value) => write_string(text, value),
        Kind::StructValue(fields) => write_struct(text, fields)?,
        Kind::ListValue(list) => {
            text.push('[');
            for (place, value) in list.values.iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                write_value(text, value)?;
            }
            text.push(']');
        }
    }
    Ok(())
}

fn write_string(text: &mut String, value: &str) {
    text.push_str(&serde_json::to_string(value).expect("a string has a JSON form"));
}

/// Up to here whole numbers are written with all their digits, as JavaScript does; beyond, with an exponent.
const WHOLE_LIMIT: f64 = 1e21;

fn write_number(text: &mut String, number: f64) -> Result<(), Error> {
    if !number.is_finite() {
        return Err(Error::NotFinite);
    }
    let written = if number.fract() == 0.0 && number.abs() < WHOLE_LIMIT {
        // Minus zero is written as zero: `-0` is a number that many readers do not expect.
        write!(text, "{}", number + 0.0)
    } else {
        write!(text, "{}", serde_json::Number::from_f64(number).expect("the number is finite"))
    };
    written.expect("writing to a string does not fail");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(number: f64) -> String {
        let mut text = String::new();
        write_number(&mut text, number).expect("finite");
        text
    }

    #[test]
    fn a_payload_does_not_keep_the_message() {
        let message = Bytes::from(br#"{"id": 1}"#.to_vec());
        let body = Some(v1::publish_request::Body::PayloadJson(message.clone()));
        let request = v1::PublishRequest { event: "a.b".into(), body, ..Default::default() };
        let draft = draft_from(request, KeyOwner::NOBODY, &FieldNames::default()).expect("the request is valid");
        assert!(message.is_unique());
        assert_eq!(draft.payload().as_bytes(), &message);
    }

    #[test]
    fn whole_numbers_have_no_fraction() {
        assert_eq!(written(123.0), "123");
        assert_eq!(written(-1.0), "-1");
        assert_eq!(written(-0.0), "0");
        assert_eq!(written(1.5), "1.5");
        assert_eq!(written(9_007_199_254_740_993.0), "9007199254740992");
        assert_eq!(written(1e20), "100000000000000000000");
        assert_eq!(written(1e300), "1e+300");
        assert_eq!(written(0.1), "0.1");
        assert!(matches!(write_number(&mut String::new(), f64::NAN), Err(Error::NotFinite)));
    }

    #[test]
    fn a_structure_is_written_as_json() {
        let value = |kind| Value { kind: Some(kind) };
        let list = prost_types::ListValue { values: vec![value(Kind::NullValue(0)), value(Kind::BoolValue(true))] };
        let inner = Struct { fields: [("ñ\"".to_owned(), value(Kind::ListValue(list)))].into() };
        let fields =
            [("b".to_owned(), value(Kind::NumberValue(1.0))), ("a".to_owned(), value(Kind::StructValue(inner)))];
        let payload = payload_from(&Struct { fields: fields.into() }).expect("a payload");
        assert_eq!(payload.as_bytes(), r#"{"a":{"ñ\"":[null,true]},"b":1}"#);
        let hollow = Struct { fields: [("a".to_owned(), Value { kind: None })].into() };
        assert!(matches!(payload_from(&hollow), Err(Error::NoKind)));
    }

    #[test]
    fn timestamps_are_rfc_3339_in_utc() {
        let text = |seconds, nanos| timestamp_text(Timestamp { seconds, nanos }).map(String::from).ok();
        assert_eq!(text(0, 0).as_deref(), Some("1970-01-01T00:00:00.000Z"));
        assert_eq!(text(1, 500_000_000).as_deref(), Some("1970-01-01T00:00:01.500Z"));
        assert_eq!(text(1, 1).as_deref(), Some("1970-01-01T00:00:01.000000001Z"));
        assert_eq!(text(i64::MAX, 0), None);
        assert_eq!(text(0, -1), None);
        assert_eq!(text(0, 1_500_000_000), None);
    }
}
