//! Sections 5.5.1 and 7: closing, codes and reasons.

use super::{
    Answer::Close,
    Bench, Case, check,
    frame::{CLOSE, FIN, PING, TEXT, close, masked},
    message,
};

// RFC 6455, 5.5.1: a close is answered by a close, typically with the same code; without one, by one without
#[tokio::test]
async fn a_close_is_answered_with_its_code() {
    let valid = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999];
    let mut cases: Vec<_> = valid.map(|code| Case::closes(format!("{code}"), close(code, b""), code)).into();
    cases.push(Case::new("no code", masked(FIN | CLOSE, b""), [Close(None)]));
    cases.push(Case::closes("a reason", close(1000, "adiós".as_bytes()), 1000));
    cases.push(Case::closes("the longest reason", close(1000, &[b'a'; 123]), 1000));
    check(cases).await;
}

// RFC 6455, 7.4: codes that may not be sent, or that nothing defines
#[tokio::test]
async fn a_code_that_is_none_closes_with_1002() {
    let invalid = [0, 1, 999, 1004, 1005, 1006, 1014, 1015, 1016, 1100, 2000, 2999, 5000, 32_768, u16::MAX];
    check(invalid.map(|code| Case::closes(format!("{code}"), close(code, b""), 1002))).await;
}

// RFC 6455, 5.5.1: content begins with a code of two bytes, and a reason is UTF-8
#[tokio::test]
async fn a_close_with_bad_content_closes() {
    check([
        Case::closes("half a code", masked(FIN | CLOSE, &[3]), 1002),
        Case::closes("a reason that is not UTF-8", close(1000, b"adi\xf3s"), 1007),
        Case::closes("a reason that ends within a character", close(1000, b"adi\xc3"), 1007),
    ])
    .await;
}

// RFC 6455, 5.5.1: what comes behind a close is not looked at
#[tokio::test]
async fn nothing_is_done_after_a_close() {
    let ping = masked(FIN | PING, b"hola");
    let text = masked(FIN | TEXT, br#"{"type":"ping"}"#);
    let rubbish = vec![0xff; 10_000];
    let second = close(1001, b"");
    let cases = [ping, text.clone(), rubbish.clone(), second].map(|after| {
        let what = format!("{} bytes after a close", after.len());
        Case::closes(what, [close(1000, b""), after].concat(), 1000)
    });
    let after_a_fault = [masked(FIN | 0x3, b""), text.clone(), rubbish].concat();
    let before = [text, close(1000, b"")].concat();
    check(cases.into_iter().chain([
        Case::closes("after a fault", after_a_fault, 1002),
        Case::new("what is before is done", before, [message("pong"), Close(Some(1000))]),
    ]))
    .await;
}

// RFC 6455, 7.2.2 and 7.3: a client that vanishes, within a frame or between two, just leaves
#[tokio::test]
async fn a_client_may_vanish_anywhere() {
    let mut bench = Bench::start().await;
    let frame = masked(FIN | TEXT, &[b'a'; 200]);
    for end in [0, 1, 2, 3, 4, 7, 8, 9, 207] {
        let mut raw = bench.client().await;
        raw.write(&frame[..end]).await;
        drop(raw);
        bench.app.until_connected(1).await;
        bench.unharmed().await;
    }
}
