use serde_json::{Value, json};

use super::*;
use crate::egress::session::tests::token;

fn room(name: &str) -> RoomId {
    RoomId::parse(name).expect("a name")
}

fn machine(rooms: &[&str]) -> Machine {
    let further: Vec<_> = rooms[1..].iter().map(|name| room(name)).collect();
    Machine::new(&room(rooms[0]), &further, SubscribeScope::OPEN)
}

fn said(machine: &mut Machine, text: &str) -> Vec<Effect> {
    let sender = Sender {
        client_id: &ClientId::parse("ana").expect("a name"),
        limits: SessionLimits { max_rooms: 3, max_chat_bytes: 10 },
        now: DateTime::UNIX_EPOCH,
    };
    machine.take_in(ClientMessage::parse(text), &sender)
}

/// The effects with their texts as JSON, without the timestamps.
fn effects(machine: &mut Machine, message: &Value) -> Vec<(String, Value)> {
    let content = |text: Framed| {
        let mut value: Value = serde_json::from_slice(&text).expect("JSON");
        value.as_object_mut().expect("an object").remove("timestamp");
        value
    };
    let effects = said(machine, &message.to_string()).into_iter().map(|effect| match effect {
        Effect::Reply(text) => ("reply".to_owned(), content(text)),
        Effect::Relay(notice) => (format!("relay {}", notice.room()), content(json::notice(&notice))),
        Effect::Enter(room) => (format!("enter {room}"), Value::Null),
        Effect::Leave(room) => (format!("leave {room}"), Value::Null),
        Effect::Refresh(token) => (format!("refresh {token}"), Value::Null),
        Effect::Refused(denied) => (format!("refused: {denied}"), Value::Null),
    });
    effects.collect()
}

fn names(machine: &Machine) -> Vec<&str> {
    machine.rooms().iter().map(RoomId::as_str).collect()
}

#[test]
fn joining_moves_the_client() {
    let mut ana = machine(&["general", "b"]);
    let effects = effects(&mut ana, &json!({"type":"join_room","room":"c"}));
    let labels: Vec<_> = effects.iter().map(|(label, _)| label.as_str()).collect();
    assert_eq!(labels, ["leave general", "enter c", "reply"]);
    let answer = json!({"type":"room_changed","message":"Te uniste a la sala c","room":"c"});
    assert_eq!(effects[2].1, answer);
    assert_eq!(names(&ana), ["c", "b"]);
}

#[test]
fn joining_a_room_one_is_in_enters_nothing() {
    let mut ana = machine(&["general", "b", "c"]);
    let labels: Vec<_> = effects(&mut ana, &json!({"type":"join_room","room":"c"})).into_iter().map(|e| e.0).collect();
    assert_eq!(labels, ["leave general", "reply"]);
    assert_eq!(names(&ana), ["c", "b"]);
    assert_eq!(effects(&mut ana, &json!({"type":"join_room","room":"c"})).len(), 1);
    assert_eq!(names(&ana), ["c", "b"]);
}

#[test]
fn rooms_are_added_and_left_and_bounded() {
    let mut ana = machine(&["general"]);
    let added = effects(&mut ana, &json!({"type":"subscribe","room":"b"}));
    let answer = json!({"type":"subscribed","room":"b","rooms":["general","b"]});
    assert_eq!(added, [("enter b".to_owned(), Value::Null), ("reply".to_owned(), answer)]);
    assert_eq!(effects(&mut ana, &json!({"type":"subscribe","room":"b"})).len(), 1);
    effects(&mut ana, &json!({"type":"subscribe","room":"c"}));
    let refused = effects(&mut ana, &json!({"type":"subscribe","room":"d"}));
    assert_eq!(refused[0].1["type"], "error");
    let left = effects(&mut ana, &json!({"type":"unsubscribe","room":"b"}));
    let answer = json!({"type":"unsubscribed","room":"b","rooms":["general","c"]});
    assert_eq!(left, [("leave b".to_owned(), Value::Null), ("reply".to_owned(), answer)]);
    assert_eq!(effects(&mut ana, &json!({"type":"unsubscribe","room":"x"})).len(), 1);
    assert_eq!(effects(&mut ana, &json!({"type":"unsubscribe","room":"general"}))[0].1["type"], "error");
    assert_eq!(names(&ana), ["general", "c"]);
}

#[test]
fn chat_goes_to_a_room_one_is_in() {
    let mut ana = machine(&["general", "b"]);
    let said = effects(&mut ana, &json!({"type":"chat_message","message":"hola"}));
    let text = json!({"type":"chat_message","client_id":"ana","message":"hola","room":"general"});
    assert_eq!(said, [("relay general".to_owned(), text)]);
    assert_eq!(effects(&mut ana, &json!({"type":"chat_message","message":"x","room":"b"}))[0].0, "relay b");
    assert_eq!(effects(&mut ana, &json!({"type":"chat_message","message":"x","room":"z"}))[0].1["type"], "error");
}

// what counts is what the others get, however the client wrote it
#[test]
fn chat_is_short() {
    let mut ana = machine(&["general"]);
    let error = json!({"type":"error","message":"El mensaje es demasiado largo: admite como máximo 10 bytes"});
    let refused = [("reply".to_owned(), error)];
    for (longest, too_long) in
        [("1234567890", "12345678901"), ("ñññññ", "ñññññ1"), ("\"\n345678", "\"\n3456789"), ("\u{1}7890", "\u{1}78901")]
    {
        let said = effects(&mut ana, &json!({"type":"chat_message","message":longest}));
        assert_eq!((said[0].0.as_str(), &said[0].1["message"]), ("relay general", &json!(longest)));
        assert_eq!(effects(&mut ana, &json!({"type":"chat_message","message":too_long})), refused);
    }
    let value = effects(&mut ana, &json!({"type":"chat_message","message":["345678"]}));
    assert_eq!((value[0].0.as_str(), &value[0].1["message"]), ("relay general", &json!(["345678"])));
    assert_eq!(effects(&mut ana, &json!({"type":"chat_message","message":["3456789"]})), refused);
    let escaped = r#"{"type":"chat_message","message":"\u0031\u0032\u0033"}"#;
    assert!(matches!(said(&mut ana, escaped)[..], [Effect::Relay(_)]));
}

// a client is a member of no room but those that the machine has, if it is taken out of a room before anything is waited for
#[test]
fn a_room_is_left_before_anything_else_is_done() {
    for message in [
        json!({"type":"join_room","room":"c"}),
        json!({"type":"join_room","room":"b"}),
        json!({"type":"unsubscribe","room":"b"}),
    ] {
        let mut ana = machine(&["general", "b"]);
        let effects = said(&mut ana, &message.to_string());
        let leaves: Vec<_> = effects.iter().map(|effect| matches!(effect, Effect::Leave(_))).collect();
        assert!(leaves[0] && !leaves[1..].contains(&true), "{effects:?}");
    }
}

#[test]
fn a_token_that_expired_is_told_once_and_has_its_grace() {
    const GRACE: Duration = Duration::from_secs(30);
    let mut ana = Machine::new(&room("general"), &[], token(None, Some(100)));
    let begin = Instant::now();
    let check = |machine: &mut Machine, seconds: u64, time| {
        machine.check_token((begin + Duration::from_secs(seconds), time), GRACE)
    };
    assert_eq!(check(&mut ana, 0, 99), TokenState::InOrder);
    // Until it was told, it is to be told.
    assert_eq!([check(&mut ana, 1, 100), check(&mut ana, 2, 101)], [TokenState::Expired; 2]);
    ana.told_expired(begin + Duration::from_secs(2));
    assert_eq!(check(&mut ana, 31, 130), TokenState::InOrder);
    assert_eq!(check(&mut ana, 32, 131), TokenState::GraceOver);
    assert_eq!(check(&mut ana, 33, 99), TokenState::InOrder, "the time of day was put back");
    assert_eq!(check(&mut ana, 34, 100), TokenState::Expired, "and its grace begins anew");
    ana.told_expired(begin + Duration::from_secs(34));
    ana.renew(SubscribeScope::OPEN).expect("it may go on");
    assert_eq!(check(&mut ana, 999, 999), TokenState::InOrder);
}
