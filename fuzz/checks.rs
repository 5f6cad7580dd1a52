//! What must be true of whatever bytes come in. The fuzz targets and `tests/fuzz.rs` call the same functions.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use bytes::Bytes;
use exposia_notifications::{
    broker::Rules,
    clock::{Clock, System},
    domain::{Draft, DraftFields, FieldNames, MAX_NAME_CHARS, Payload},
    gate::{Expected, Key},
    wire::{client::ClientMessage, notify},
};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::Value;

/// The reader of what WebSocket clients send.
pub(crate) fn client_message(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let message = match ClientMessage::parse(text) {
        Ok(message) => message,
        Err(error) => return assert!(error.to_string().chars().count() < 256, "the answer has a bound"),
    };
    // A lone surrogate is kept unread in a field that nobody asks for; `Value` would read it.
    let Ok(document) = serde_json::from_str::<Value>(text) else { return };
    let room = || document["room"].as_str();
    let (kind, agrees) = match &message {
        ClientMessage::Ping => ("ping", true),
        ClientMessage::Chat { message, room: target } => {
            let said = document.get("message").cloned().unwrap_or_else(|| "".into());
            let is_passed_on = serde_json::from_str::<Value>(message.as_json().get()).ok() == Some(said);
            ("chat_message", is_passed_on && target.as_ref().map(|room| room.as_str()) == room())
        }
        ClientMessage::Join(target) if document.get("room").is_none() => ("join_room", target.as_str() == "general"),
        ClientMessage::Join(target) => ("join_room", Some(target.as_str()) == room()),
        ClientMessage::Subscribe(target) => ("subscribe", Some(target.as_str()) == room()),
        ClientMessage::Unsubscribe(target) => ("unsubscribe", Some(target.as_str()) == room()),
        ClientMessage::Refresh(token) => ("refresh", document["token"] == **token),
    };
    assert!(document["type"] == kind && agrees, "{message:?}");
}

/// The readers of payloads and of the body of `POST /notify`.
pub(crate) fn payload(data: &[u8]) {
    let names: FieldNames = ["usuarioId", "temaId", "a"].map(Into::into).into();
    let parsed = Payload::parse(Bytes::copy_from_slice(data)).map_err(|error| error.to_string());
    let read = Payload::read(data, &names, 0).map_err(|error| error.to_string());
    assert_eq!(read.as_ref().map(|(payload, _)| payload), parsed.as_ref(), "both ways to read it agree");
    if let Ok((payload, found)) = read {
        assert_eq!(payload.as_bytes(), data, "kept as it came");
        assert_eq!(payload.identifiers(&names), found);
        let document: Value = serde_json::from_slice(data).expect("what is passed on is JSON to anybody");
        for name in &*names {
            let expected = document[&**name].as_str().filter(|text| !text.is_empty());
            assert!(expected == found.get(name) || document[&**name].is_number(), "{name}: {found:?}");
        }
    }
    if let Ok(draft) = notify::read(data, None, &names) {
        let body = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
        Payload::check_json(body).expect("the whole body is JSON to anybody");
        let payload = Payload::parse(draft.payload().as_bytes().clone()).expect("a payload is one by itself");
        assert!(!draft.name().is_empty() && *draft.identifiers(&names) == payload.identifiers(&names), "{draft:?}");
    }
}

/// The rule table, and where it sends an event: a line with its name, a line with its payload, then the table.
pub(crate) fn routes(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some((event, rest)) = text.split_once('\n') else { return };
    let (payload, table) = rest.split_once('\n').unwrap_or((rest, ""));
    let Ok(payload) = Payload::parse(Bytes::copy_from_slice(payload.as_bytes())) else { return };
    let Ok(draft) = Draft::new(DraftFields::new(event, payload)) else { return };
    for rules in [Ok(Rules::default()), Rules::parse(table)].into_iter().flatten() {
        let Ok(route) = rules.route(&draft) else { continue };
        let users = route.audiences.users().map(|user| user.as_str());
        for name in users.chain(route.audiences.rooms().map(|room| room.as_str())) {
            assert!((1..=MAX_NAME_CHARS).contains(&name.chars().count()), "{name:?}");
        }
    }
}

/// The reader of tokens: as it comes, which must not be believed, and its claims under a good signature.
pub(crate) fn token(data: &[u8]) {
    const SECRET: &[u8] = b"a secret that no fuzzer guesses";
    let keys =
        [Key::from_secret(SECRET), Key::from_pem(include_bytes!("../tests/it/gate/keys/rsa.pub.pem")).expect("a key")];
    let anybody = Expected::new(&[], &[], 0);
    let somebody = Expected::new(&["issuer".to_owned()], &["audience".to_owned()], 0);
    let now = System::default().wall();
    let text = String::from_utf8_lossy(data);
    assert!(anybody.verify(&text, &keys, now).is_err(), "{text} was never signed");

    let message = format!("eyJhbGciOiJIUzI1NiJ9.{}", BASE64_URL_SAFE_NO_PAD.encode(data));
    let signature = crypto::sign(message.as_bytes(), &EncodingKey::from_secret(SECRET), Algorithm::HS256);
    let token = format!("{message}.{}", signature.expect("a signature"));
    let believed = anybody.verify(&token, &keys, now);
    if let Ok(identity) = &believed {
        // A claim that nobody reads is passed over, and may be what `Value` would not read.
        let Ok(claims) = serde_json::from_slice::<Value>(data) else { return };
        assert_eq!(identity.user().map(|user| user.as_str()), claims["sub"].as_str());
        assert_eq!(identity.grant.as_ref().is_some_and(|grant| grant.admin), claims["admin"] == true);
        assert!(claims["exp"].is_number());
    }
    assert!(somebody.verify(&token, &keys, now).is_err() || believed.is_ok(), "who asks for more believes less");
}
