//! What the clients of the original service get, message by message and to the letter: texts, fields and their order.

mod answers;
mod chat;
mod frames;
mod names;
mod presence;
mod rpc;

/// Asserts that the fields come in this order; others may stand between them.
#[track_caller]
fn assert_in_order(text: &str, fields: &[&str]) {
    let mut rest = text;
    for field in fields {
        let behind = rest.split_once(&format!("\"{field}\":"));
        rest = behind.unwrap_or_else(|| panic!("no `{field}` behind those before it: {text}")).1;
    }
}

/// The text of a message, with its time of now written as `T`.
#[track_caller]
fn without_time(text: &str) -> String {
    let (before, behind) = text.split_once(r#""timestamp":""#).unwrap_or_else(|| panic!("no timestamp: {text}"));
    let (time, behind) = behind.split_once('"').unwrap_or_else(|| panic!("a timestamp without an end: {text}"));
    crate::support::assert_recent(&time.into());
    format!(r#"{before}"timestamp":"T"{behind}"#)
}
