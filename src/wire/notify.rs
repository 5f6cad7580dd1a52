//! The JSON bodies of `POST /notify` and `POST /routes/explain`, read with FastAPI's answers to what is wrong.

use std::{borrow::Cow, fmt, str, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    domain::{
        Audiences, Code, Draft, DraftFields, Durability, EventError, FieldNames, IdempotencyKey, Identifiers, Payload,
        is_mistyped,
    },
    wire::problem::Problem,
};

/// Reads the body of `POST /notify`. `key` is what the header `Idempotency-Key` says, and whose it is; `names` are the fields of a
/// payload by which it may be routed.
///
/// The payload is copied out: it would keep the buffer alive that the connection read the body into, many times its size, for as
/// long as the journal keeps it.
pub fn read(body: &[u8], key: Option<IdempotencyKey>, names: &FieldNames) -> Result<Draft, Problem> {
    let body = body.strip_prefix(BOM).unwrap_or(body);
    // Where something is wrong, another look says whether it is JSON at all: that comes before whatever its fields say.
    read_fields(body, key, names).map_err(|problem| match Payload::check_json(body) {
        Ok(_) => problem,
        Err(error) => Problem::new(Code::Malformed, format!("not valid JSON: {error}")),
    })
}

/// Reads a body without regard to which of several faults it tells. Each part of one that has none was looked at in full.
fn read_fields(body: &[u8], key: Option<IdempotencyKey>, names: &FieldNames) -> Result<Draft, Problem> {
    let fields = Fields::read(body)?;
    let name = required(fields.event, "event", string)?.into();
    let (payload, identifiers) = required(fields.payload, "payload", |raw| payload(raw, names))?;
    let fields = DraftFields {
        name,
        payload,
        source: optional(fields.source, "source", string)?.map(Into::into),
        timestamp: optional(fields.timestamp, "timestamp", string)?.map(Into::into),
        idempotency_key: key,
        target: target(fields.target)?,
        durability: optional(fields.durability, "durability", durability)?,
        ttl: optional(fields.ttl, "ttl", ttl)?,
        identifiers: Some(identifiers),
    };
    Draft::new(fields).map_err(|error| match error.field() {
        _ if error == EventError::EphemeralKey => Problem::new(Code::Conflict, error.to_string()),
        "idempotency_key" => Problem::field("header", "Idempotency-Key", "value_error", error.to_string()),
        field => Problem::field("body", field, "value_error", error.to_string()),
    })
}

/// What some programs write before a text in UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// Each field stands in one object, the body.
const ENCLOSING: u8 = 1;

/// The fields that the original did not have, in the order in which they are looked at: whoever mistypes one would publish to others than it meant, or for another time.
const ADDED: [&str; 3] = ["target", "durability", "ttl"];

/// The top-level fields of a body; of one that comes twice the last counts, and others are passed over.
#[derive(Default)]
struct Fields<'a> {
    event: Option<&'a RawValue>,
    payload: Option<&'a RawValue>,
    source: Option<&'a RawValue>,
    timestamp: Option<&'a RawValue>,
    target: Option<&'a RawValue>,
    durability: Option<&'a RawValue>,
    ttl: Option<&'a RawValue>,
    /// For each of those that were [added](ADDED), one that it may be meant by.
    mistyped: [Option<Cow<'a, str>>; ADDED.len()],
}

impl<'a> Fields<'a> {
    fn read(body: &'a [u8]) -> Result<Self, Problem> {
        let fields: Option<Self> = str::from_utf8(body).ok().and_then(|text| serde_json::from_str(text).ok());
        // If the body is JSON after all, it is not an object.
        let fields = fields
            .ok_or_else(|| Problem::field("body", "", "model_attributes_type", "Input should be a valid dictionary"))?;
        let absent = [fields.target, fields.durability, fields.ttl].map(|field| field.is_none());
        let mistyped =
            fields.mistyped.iter().zip(ADDED).zip(absent).find(|((typed, _), absent)| *absent && typed.is_some());
        if let Some(((Some(typed), meant), _)) = mistyped {
            let message = format!("there is no such field; `{meant}` may be meant");
            return Err(Problem::field("body", typed, "value_error", message));
        }
        Ok(fields)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Fields::default();
                while let Some(key) = entries.next_key::<Text<'de>>()? {
                    let field = match &*key.0 {
                        "event" => &mut fields.event,
                        "payload" => &mut fields.payload,
                        "source" => &mut fields.source,
                        "timestamp" => &mut fields.timestamp,
                        "target" => &mut fields.target,
                        "durability" => &mut fields.durability,
                        "ttl" => &mut fields.ttl,
                        other => {
                            if let Some(meant) = ADDED.into_iter().position(|added| is_mistyped(other, added)) {
                                fields.mistyped[meant].get_or_insert_with(|| key.0.clone());
                            }
                            check(entries.next_value()?).map_err(A::Error::custom)?;
                            continue;
                        }
                    };
                    if let Some(twice) = field.replace(entries.next_value()?) {
                        check(twice).map_err(A::Error::custom)?;
                    }
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Looks at a part of a body in full that nobody reads.
fn check(raw: &RawValue) -> Result<(), serde_json::Error> {
    Payload::check_part(raw.get(), ENCLOSING)
}

/// What is wrong with a value: FastAPI's name for it, and a sentence.
type Fault = (&'static str, &'static str);

fn required<'a, T>(
    raw: Option<&'a RawValue>,
    field: &str,
    read: impl FnOnce(&'a RawValue) -> Result<T, Fault>,
) -> Result<T, Problem> {
    let raw = raw.ok_or_else(|| Problem::field("body", field, "missing", "Field required"))?;
    read(raw).map_err(|(kind, message)| Problem::field("body", field, kind, message))
}

fn optional<'a, T>(
    raw: Option<&'a RawValue>,
    field: &str,
    read: impl FnOnce(&'a RawValue) -> Result<T, Fault>,
) -> Result<Option<T>, Problem> {
    raw.filter(|raw| raw.get() != "null").map(|raw| required(Some(raw), field, read)).transpose()
}

fn string(raw: &RawValue) -> Result<Cow<'_, str>, Fault> {
    serde_json::from_str(raw.get())
        .map(|Text(text)| text)
        .map_err(|_| ("string_type", "Input should be a valid string"))
}

/// The names of the durabilities, in their order.
const DURABILITIES: [(&str, Durability); 4] = [
    ("ephemeral", Durability::Ephemeral),
    ("memory", Durability::Memory),
    ("process", Durability::Process),
    ("fsync", Durability::Fsync),
];

/// The name of a durability in requests and answers.
pub fn durability_name(durability: Durability) -> &'static str {
    DURABILITIES.iter().find(|(_, known)| *known == durability).map_or("", |(name, _)| name)
}

fn durability(raw: &RawValue) -> Result<Durability, Fault> {
    let name = string(raw)?;
    let known = DURABILITIES.iter().find(|(known, _)| *known == name).map(|(_, durability)| *durability);
    known.ok_or(("enum", "Input should be 'ephemeral', 'memory', 'process' or 'fsync'"))
}

/// Seconds, with a fraction if need be.
fn ttl(raw: &RawValue) -> Result<Duration, Fault> {
    let wrong = ("float_type", "Input should be a number of seconds");
    let seconds: f64 = serde_json::from_str(raw.get()).map_err(|_| wrong)?;
    // What does not fit becomes what the draft's own check refuses.
    Ok(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX))
}

fn payload(raw: &RawValue, names: &FieldNames) -> Result<(Payload, Identifiers), Fault> {
    Payload::read(raw.get().as_bytes(), names, ENCLOSING)
        .map_err(|_| ("dict_type", "Input should be a valid dictionary"))
}

fn target(raw: Option<&RawValue>) -> Result<Option<Audiences>, Problem> {
    #[derive(Deserialize)]
    struct Target {
        #[serde(default)]
        users: Vec<String>,
        #[serde(default)]
        rooms: Vec<String>,
        #[serde(default)]
        everyone: bool,
    }
    let wrong =
        "Input should be an object with the lists of strings `users` and `rooms`, and `everyone`, true or false";
    let target = optional(raw, "target", |raw| {
        let is_object = raw.get().starts_with('{');
        let target = serde_json::from_str::<Target>(raw.get()).ok().filter(|_| is_object && check(raw).is_ok());
        target.ok_or(("target_type", wrong))
    })?;
    let Some(Target { users, rooms, everyone }) = target else { return Ok(None) };
    Audiences::from_target(everyone, &users, &rooms).map(Some).map_err(|error| {
        let path = format!("target.{}", error.field());
        Problem::field("body", &path, "value_error", error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_payload_does_not_keep_the_body() {
        let body = Bytes::from(br#"{"event": "a.b", "payload": {"text": "most of the body is this"}}"#.to_vec());
        let draft = read(&body, None, &FieldNames::default()).expect("the body is valid");
        assert!(body.is_unique());
        assert_eq!(&draft.payload().as_bytes()[..], br#"{"text": "most of the body is this"}"#);
    }

    // Each part of a body is looked at in full, also what nobody reads; what is no JSON at all is told before anything else.
    #[test]
    fn what_json_cannot_hold_is_refused_wherever_it_stands() {
        let refusal = |body: &str| format!("{:?}", read(body.as_bytes(), None, &["temaId"].map(Into::into).into()));
        let good = |extra: &str| format!(r#"{{"event":"a.b","payload":{{}}{extra}}}"#);
        assert!(refusal(&good("")).starts_with("Ok"), "{}", refusal(&good("")));
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        for wrong in [r#""\ud800""#, "1e400", "[1,]", &deep(127), &deep(200)] {
            for body in [
                good(&format!(r#","other":{wrong}"#)),
                good(&format!(r#","target":{{"everyone":true,"x":{wrong}}}"#)),
                good(&format!(r#","source":{wrong}"#)),
                good(&format!(r#","source":{wrong},"source":"twice""#)),
                good(&format!(r#","payload":{{"temaId":{wrong}}},"payload":{{}}"#)),
                good(&format!(r#","payload":{{"temaId":{wrong}}}"#)),
                good(&format!(r#","payload":{{"x":[{wrong}]}}"#)),
                format!(r#"{{"event":7,"payload":{{"x":{wrong}}}}}"#),
            ] {
                let error = Payload::check_json(body.as_bytes()).expect_err(&body);
                assert!(refusal(&body).contains(&format!("not valid JSON: {error}")), "{body}: {}", refusal(&body));
            }
        }
        let fine = good(&format!(r#","other":{0},"payload":{{"x":{1}}}"#, deep(126), deep(125)));
        assert!(refusal(&fine).starts_with("Ok"), "{}", refusal(&fine));
        assert!(refusal(r#"{"event":7,"payload":{}}"#).contains("string_type"));
        assert!(refusal("[1]").contains("model_attributes_type") && refusal("[1").contains("not valid JSON"));
    }
}
